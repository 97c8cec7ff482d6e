#!/usr/bin/env bash
# One command on one GPU, on many, and on several machines. The step has the same 32 forget rows each time, so losses and
# weights are the same up to rounding: what is given as --batch-size is the share of one process.
#   examples/launch.sh one|many|sharded|nodes|qlora MODEL OUT
# OUT must be seen by all machines; the first process alone writes there, and every process reads checkpoints from it.
set -euo pipefail
how=${1:?one, many, sharded, nodes or qlora}; model=${2:?MODEL}; out=${3:?OUT}
run=(unlearn --model "$model" --task tofu:forget10 --objective "npo(beta=0.1) + 5*rt" --lr 5e-5 --epochs 10 --warmup 0.1
     --out "$out")
gpus=${GPUS:-8}
share=$((32 / gpus))

case $how in
  one)  # float32 weights, bfloat16 by autocast
    unlearnkit "${run[@]}" --batch-size 32 ;;
  many)  # a whole model on each GPU; gradients are averaged once a step
    torchrun --standalone --nproc-per-node "$gpus" -m unlearnkit.cli.main "${run[@]}" --batch-size "$share"
    # or: accelerate launch --multi_gpu --num_processes "$gpus" -m unlearnkit.cli.main ...
    ;;
  sharded)  # FSDP2: weights, gradients and optimiser state spread over the GPUs (leave the launcher's own FSDP off)
    torchrun --standalone --nproc-per-node "$gpus" -m unlearnkit.cli.main "${run[@]}" --batch-size "$share" \
      --shard --gradient-checkpointing
    # or: accelerate launch --multi_gpu --num_processes "$gpus" -m unlearnkit.cli.main ... --shard
    ;;
  nodes)  # the same line on each of NODES machines, with NODE 0, 1, ... and the address of machine 0 in HEAD
    share=$((32 / (gpus * ${NODES:?how many machines})))
    torchrun --nnodes "$NODES" --node-rank "${NODE:?which one this is}" --nproc-per-node "$gpus" \
      --master-addr "${HEAD:?address of machine 0}" --master-port "${PORT:-29500}" \
      -m unlearnkit.cli.main "${run[@]}" --batch-size "$share" --shard
    # or: accelerate launch --multi_gpu --num_machines "$NODES" --machine_rank "$NODE" --num_processes $((gpus * NODES)) \
    #       --main_process_ip "$HEAD" --main_process_port 29500 -m unlearnkit.cli.main ... --shard
    ;;
  qlora)  # an adapter above weights of four bits, on one GPU
    unlearnkit "${run[@]}" --batch-size 32 --lora r=16,alpha=32 --quantize nf4 --gradient-checkpointing ;;
  *) echo "examples/launch.sh one|many|sharded|nodes|qlora MODEL OUT" >&2; exit 2 ;;
esac
