"""A convolutional network reads handwritten digits: 1,797 scans of 8 by 8 pixels (scikit-learn's), of which it never sees a quarter.

    python examples/digits_cnn.py

Prints the accuracy on the unseen scans after every few epochs; it ends above 98.5 %.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import rustorch
from rustorch import nn, optim

EPOCHS, BATCH, PARTS = 30, 64, 4


def scans(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Images f32[n, 1, 8, 8] between 0 and 1 and labels i64[n], for training and for testing."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = (digits.data / 16).astype(np.float32).reshape(-1, 1, 8, 8)[order]
    labels = digits.target.astype(np.int64)[order]
    unseen = len(labels) // PARTS
    return images[unseen:], labels[unseen:], images[:unseen], labels[:unseen]


def network() -> nn.Sequential:
    """Two convolutions of twice two layers, each pair ending in half the pixels, and a small classifier."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 2 * 2, 64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 10),
    )


def accuracy(model: nn.Module, images: Any, labels: Any) -> float:
    """The share of scans that are read right."""
    model.eval()
    with rustorch.no_grad():
        read = model(rustorch.tensor(images)).argmax(dim=1)
    model.train()
    return float((read.numpy() == labels).mean())


def main(epochs: int = EPOCHS, seed: int = 0) -> float:
    """Train; the accuracy on the unseen scans."""
    rustorch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images, labels, unseen, truth = scans()
    model = network()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.92)
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(labels) // BATCH * BATCH).reshape(-1, BATCH)
        for batch in order:
            x, y = rustorch.tensor(images[batch]), rustorch.tensor(labels[batch])
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        schedule.step()
        if epoch % 5 == 0:
            share = accuracy(model, unseen, truth)
            print(f"epoch {epoch:2d}  loss {loss.item():.4f}  {share:.2%} of {len(truth)} right  {time.perf_counter() - start:.1f} s")
    return accuracy(model, unseen, truth)


if __name__ == "__main__":
    main()
