"""The loop that a user would write in forty lines without adainf: OpenCV, ONNX Runtime, pyzmq.

    python benchmarks/plain_loop.py MODEL.onnx VIDEO ENDPOINT SECONDS

Prints the frames answered per second, and the CPU time per frame in milliseconds.
"""

import json
import sys
import time

import cv2
import numpy as np
import onnxruntime
import zmq


def main() -> None:
    model, video, endpoint, seconds = sys.argv[1:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[-1]
    publisher = zmq.Context().socket(zmq.PUB)
    publisher.bind(endpoint)
    capture = cv2.VideoCapture(video)
    frames, started, processor = 0, time.monotonic(), time.process_time()
    while time.monotonic() < started + float(seconds):
        good, frame = capture.read()
        if not good:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            continue
        edge = round(min(frame.shape[:2]) * 0.875)
        top, left = (frame.shape[0] - edge) // 2, (frame.shape[1] - edge) // 2
        square = cv2.resize(frame[top : top + edge, left : left + edge], (side, side), interpolation=cv2.INTER_AREA)
        picture = (cv2.cvtColor(square, cv2.COLOR_BGR2RGB).astype(np.float32) / 255 - 0.5) / 0.5
        scores = session.run(None, {"images": picture.transpose(2, 0, 1)[None]})[0][0]
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        best = np.argsort(shares)[::-1][:3]
        labels = [{"index": int(index), "score": round(float(shares[index]), 4)} for index in best]
        publisher.send_multipart([b"result/plain", json.dumps({"frame": frames, "labels": labels}).encode()])
        frames += 1
    elapsed = time.monotonic() - started
    print(json.dumps({"fps": frames / elapsed, "ms": 1e3 * (time.process_time() - processor) / frames}))


if __name__ == "__main__":
    main()
