"""Three tasks one after another, a release after each, and a table of what was learned and what was kept.

    python examples/three_tasks.py

Call `finetune` once a task: its teacher is the model before the task. The pairs are of all that the model should keep,
so those of a learned task are added. `released` is a copy to test and to hand out. The next task goes on from `model`.
It takes about half a minute.
"""

from __future__ import annotations

import copy

import miniature

import gift_core

TASKS = ("zodiac", "textures", "greek")
KNOWN = "symbols"  # what the model knows before


def main() -> None:
    """Learns the tasks, and prints the accuracies."""
    model, preprocess, tokenizer = miniature.load_model()
    pretrained = copy.deepcopy(model.state_dict())
    tests = {name: miniature.task_images(name, "test", 150, preprocess) for name in (*TASKS, KNOWN)}
    before = {name: miniature.accuracy(model, tokenizer, test) for name, test in tests.items()}

    learned, handed_out = {}, model
    to_keep = [KNOWN]
    for name in TASKS:
        task = miniature.task_images(name, "train", 300, preprocess)
        gift_core.finetune(
            model,
            tokenizer,
            task.loader(batch_size=32),
            task.prompts,
            pairs=miniature.replay_pairs(100, preprocess, of=to_keep),
            iterations=25,
            learning_rate=5e-4,  # of the miniature; the default, 1e-5, is for CLIP ViT-B/16
            replay_batch_size=32,
        )
        handed_out = gift_core.released(model, pretrained, alpha=0.85)
        learned[name] = miniature.accuracy(handed_out, tokenizer, tests[name])
        to_keep.append(name)

    print(f"{'accuracy in %':<16}{'before':>10}{'learned':>10}{'at the end':>12}")
    for name, test in tests.items():
        at_the_end = miniature.accuracy(handed_out, tokenizer, test)
        just_after = f"{learned[name]:.1f}" if name in learned else "known"
        print(f"{name:<16}{before[name]:>10.1f}{just_after:>10}{at_the_end:>12.1f}")


if __name__ == "__main__":
    main()
