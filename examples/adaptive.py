"""Adaptive inference on a video: python examples/adaptive.py VIDEO

Prints for each frame its likeliest label, the branch that ran and why the budget was as large as it was.
"""

import sys

import cv2

import adainf


def main(source: str) -> None:
    """Answer every frame of a video."""
    video = cv2.VideoCapture(source)
    if not video.isOpened():
        sys.exit(f"{source}: no video that OpenCV can open")
    with adainf.load("efficientnet-lite", policy="low-latency") as model:
        while True:
            more, frame = video.read()
            if not more:
                break
            answer = model(frame)
            label, spent = answer.labels[0], "reused" if answer.reused else f"{answer.macs_fraction:.0%} of the MACs"
            budget = f"budget {answer.budget.fraction:.2f} by {answer.budget.limited_by}"
            print(f"{label.name} {label.score:.2f}, {spent}, {budget}, {answer.timing.total:.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1])
