#!/usr/bin/env bash
# Where does a method stand? One formula run as docs/results/mini_ranking.md runs the published methods, in one world of it:
#   examples/rank_method.sh FORMULA OUT [LEARNING_RATE] [WORLD]     e.g. "npo(beta=0.45) + rt" runs/npo 1e-3 0
# Its overall score stands beside the numbers in that page's brackets (worlds 0, 1, 2). Half a minute of one core once the
# world's models are there; everything resumes.
set -euo pipefail
formula=${1:?FORMULA}; out=${2:?OUT}; lr=${3:-1e-3}; world=${4:-0}
here=$(cd "$(dirname "$0")" && pwd)
unlearnkit=${UNLEARNKIT:-$here/../.venv/bin/unlearnkit}

task="mini:forget10@$world"
measure=(--task "$task" --holdout mini --max-new-tokens 40)
"$unlearnkit" eval --model "mini:retain90@$world" "${measure[@]}" --out "$out/retain" >/dev/null
"$unlearnkit" eval --model "mini:target@$world" "${measure[@]}" --reference "$out/retain" --out "$out/target" >/dev/null
"$unlearnkit" unlearn --model "mini:target@$world" --task "$task" --objective "$formula" --lr "$lr" --epochs 10 \
  --batch-size 16 --max-grad-norm 0 --seed "$world" --measure no --no-checkpoints --out "$out/unlearned"
"$unlearnkit" eval --model "$out/unlearned" "${measure[@]}" --reference "$out/retain" --target "$out/target" \
  --out "$out/measured" >/dev/null
for name in overall memorization privacy utility; do
  sed -n "/\"$name\": {/{n;s/.*: \([^,]*\),*/$name \1/p;}" "$out/measured/scores.json"
done
