"""How much memory learning and drawing take: estimates, documented in docs/doctor.md."""

from __future__ import annotations

from collections.abc import Mapping

from gift_core.config.experiment import TrainingConfig
from gift_core.config.generator import GeneratorConfig
from gift_core.config.methods import MethodConfig
from gift_core.doctor.architecture import Architecture, Tower

CONTEXT = 600_000_000  # what a CUDA context takes before the first tensor
FP32, HALF = 4, 2
_STATES = 4  # of every parameter: its value, its gradient, the two moments of AdamW
_COPIES = {"none": 0, "uniform": 1}  # of an anchor: where the task began; other kinds keep an importance as well
_COPIES_WITH_IMPORTANCE = 2
_TEMPORARY = 2  # how far a weight moved, and that times its importance, while the anchor pulls
DTYPE_BYTES = {"float32": FP32, "float16": HALF, "bfloat16": HALF}
_DECODED, _DECODED_ONCE = 768, 256  # numbers a pixel that the decoder of an SD autoencoder holds at its widest
_DENOISED = 320  # numbers a pixel that the denoiser holds, for an image with and without its prompt
_TILE = 512


def learning_bytes(
    architecture: Architecture, method: MethodConfig, training: TrainingConfig, *, precision: str, classes: int
) -> int:
    """Returns the peak of one method's fine-tuning on a task of `classes` classes.

    P parameters, fp32: 4 P bytes for each of value, gradient, two moments; a copy of the start for an anchor, one for
    its importance, one for a running mean, one for a merge; 2 P more for autocast's weights in half precision. On top
    the larger of the two graphs, which live one after the other: M pairs, or B images and K class prompts (Tower.kept
    numbers each, 4 bytes, or 2 under autocast); or what the anchor needs while it pulls.
    """
    half = precision != "fp32"
    parameters = architecture.parameters
    copies = _COPIES.get(method.consolidation.kind, _COPIES_WITH_IMPORTANCE)
    copies += (method.average is not None) + (method.merge is not None)
    held = parameters * (FP32 * (_STATES + copies) + (HALF if half else 0))
    graph = graph_bytes(architecture, training, bytes_each=HALF if half else FP32, texts=classes)
    pull = _TEMPORARY * FP32 * parameters if method.consolidation.kind != "none" else 0
    return CONTEXT + held + max(graph, pull)


def graph_bytes(architecture: Architecture, training: TrainingConfig, *, bytes_each: int, texts: int) -> int:
    """Returns what autograd keeps at most: of the replayed pairs, or of the task's images and its `texts` prompts.

    With training.micro_batch_size only so many images, or so many texts, have a graph at once.
    """
    micro = training.micro_batch_size

    def of(tower: Tower, count: int) -> int:
        kept = tower.kept(quick_gelu=architecture.quick_gelu, checkpointing=training.gradient_checkpointing)
        return kept * bytes_each * (count if micro is None else min(count, micro))

    pairs, images = training.replay_batch_size, training.batch_size
    together = sum if micro is None else max
    replay = together((of(architecture.vision, pairs), of(architecture.text, pairs)))
    task = together((of(architecture.vision, images), of(architecture.text, texts)))
    return max(replay, task)


def drawing_bytes(parameters: Mapping[str, int], generator: GeneratorConfig) -> int:
    """Returns the peak of drawing, for a pipeline whose parts have so many parameters.

    b bytes of a number in generator.dtype: b for each parameter (of the largest part alone with offload: model, of none
    with sequential); and the larger of the decoder's b * pixels * (768 images + 256), of one image with vae_slicing, of
    512 px a side at most with vae_tiling, and the denoiser's b * pixels * 320 images. Measured on Stable Diffusion 1.5.
    """
    size, count, each = generator.size, generator.batch_size, DTYPE_BYTES[generator.dtype]
    memory = generator.memory
    slicing, tiling = memory is not None and memory.vae_slicing, memory is not None and memory.vae_tiling
    weights = {"none": sum(parameters.values()), "model": max(parameters.values()), "sequential": 0}
    side = min(size, _TILE) if tiling else size
    decoder = side**2 * (_DECODED * (1 if slicing else count) + _DECODED_ONCE)
    denoiser = size**2 * _DENOISED * count
    return CONTEXT + each * (weights[memory.offload if memory else "none"] + max(decoder, denoiser))
