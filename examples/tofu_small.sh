#!/usr/bin/env bash
# TOFU itself on a laptop: a 2.6M-parameter Llama trained from scratch on `full` and on `retain90`, four ways to forget
# forget10, measured after every epoch. Run from anywhere:  examples/tofu_small.sh DATA OUT
#   DATA  a folder with TOFU's files (full.json, forget10_perturbed.json, ...); OUT  where everything goes
# Everything resumes: a run that is finished is not run again.
set -euo pipefail
data=${1:?DATA}; out=${2:?OUT}
here=$(cd "$(dirname "$0")" && pwd)
unlearnkit=${UNLEARNKIT:-$here/../.venv/bin/unlearnkit}
mkdir -p "$out"
touch "$out/times.txt"
took() {  # the time of what was run, not of finding it finished
  local start=$SECONDS; "$@"
  grep -q " ${*: -1}$" "$out/times.txt" || echo "$((SECONDS - start)) s: unlearnkit ${*:2:1} ${*: -1}" >>"$out/times.txt"
}

train=(--model "init:$here/tofu_small.json" --data "$data" --lr 2e-3 --epochs 8 --batch-size 8 --warmup 0.03
       --schedule cosine)
took "$unlearnkit" finetune "${train[@]}" --task tofu:full --out "$out/full"
took "$unlearnkit" finetune "${train[@]}" --task tofu:retain90 --out "$out/retain90"

measure=(--task tofu:forget10 --data "$data" --max-new-tokens 60)
took "$unlearnkit" eval --model "$out/full" "${measure[@]}" --out "$out/eval-full"
took "$unlearnkit" eval --model "$out/retain90" "${measure[@]}" --out "$out/eval-retain90"

unlearn=(--model "$out/full" "${measure[@]}" --lr 4e-4 --epochs 4 --batch-size 32 --token-budget 2048 --schedule constant
         --measure epoch --reference "$out/eval-retain90" --no-checkpoints)
took "$unlearnkit" unlearn "${unlearn[@]}" --objective "ga" --out "$out/ga"
took "$unlearnkit" unlearn "${unlearn[@]}" --objective "ga + rt" --out "$out/ga-rt"
took "$unlearnkit" unlearn "${unlearn[@]}" --objective "npo(beta=0.1)" --out "$out/npo"
took "$unlearnkit" unlearn "${unlearn[@]}" --objective "npo(beta=0.1) + rt" --out "$out/npo-rt"

# A model from scratch knows no real authors, so model utility is near zero throughout: the picture shows what is kept of
# the retain set instead.
"$unlearnkit" compare "$out"/{ga,ga-rt,npo,npo-rt} --target "$out/eval-full" --retain "$out/eval-retain90" \
  --utility retain_probability --out "$out/comparison"
