"""The records of a run: a JSON log, tokens/s, model FLOPs utilisation, a plot of the loss."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokenspeed.model.config import ModelConfig
from tokenspeed.training.config import Recipe
from tokenspeed.training.packing import Batch

# Dense bfloat16 FLOP/s by data sheet; for other GPUs no utilisation is reported.
_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "RTX 4090": 165e12}


class Log:
    """Rows in `log.jsonl`, a summary and `loss.svg` in the directory of a run."""

    def __init__(
        self,
        directory: Path,
        recipe: Recipe,
        weights: Mapping[str, Tensor],
        device: torch.device,
        num_devices: int = 1,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.recipe = directory, recipe
        self.num_parameters = sum(w.numel() for w in weights.values())
        self.device, self.num_devices = device, num_devices
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        self.device_name = name
        self.peak_flops = next((f for key, f in _PEAK_FLOPS.items() if key in name), None)
        self.rows: list[dict[str, Any]] = []
        self._path = directory / "log.jsonl"
        self._tokens = self._targets = 0
        self._all_tokens = 0
        self._since = time.perf_counter()

    def resume(self, step: int) -> None:
        """Keep the rows that an earlier process wrote before its last checkpoint."""
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            self.rows = [row for row in map(json.loads, lines) if row["step"] <= step]
            self._path.write_text(
                "".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8"
            )

    def count(self, batch: Batch, *, warm: bool) -> None:
        """Add a batch to the measured speed, once the run is warm."""
        if not warm:
            self._tokens = self._targets = 0
            self._since = time.perf_counter()
            return
        # Batches of other processes are about as full as this one.
        self._tokens += batch.num_tokens * self.num_devices
        self._targets += batch.num_targets * self.num_devices
        self._all_tokens += batch.num_tokens * self.num_devices

    def train(self, step: int, loss: float, elapsed_s: float) -> str:
        """Write a row; return its short form."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        speed = self._tokens / seconds
        row: dict[str, Any] = {
            "step": step,
            "elapsed_s": round(elapsed_s, 2),
            "loss": round(loss, 5),
            "tokens_per_s": round(speed),
        }
        if self.peak_flops:
            flops = self._tokens * body_flops(self.recipe.model)
            flops += self._targets * head_flops(self.recipe.model)
            row["mfu"] = round(flops / seconds / self.peak_flops / self.num_devices, 4)
        self._tokens = self._targets = 0
        self._since = time.perf_counter()
        self._write(row)
        return " ".join(f"{key} {value}" for key, value in row.items() if key != "step")

    def valid(self, step: int, loss: float, elapsed_s: float) -> None:
        """Write the validation loss in nats per target token."""
        self._write({"step": step, "elapsed_s": round(elapsed_s, 2), "valid": round(loss, 5)})
        self._since = time.perf_counter()
        self._tokens = self._targets = 0

    def finish(self, steps: int, elapsed_s: float) -> None:
        """Write summary.json and loss.svg."""
        speeds = sorted(row["tokens_per_s"] for row in self.rows if "tokens_per_s" in row)
        uses = sorted(row["mfu"] for row in self.rows if "mfu" in row)
        valids = [row["valid"] for row in self.rows if "valid" in row]
        summary = {
            "steps": steps,
            "elapsed_s": round(elapsed_s, 1),
            "tokens": self._all_tokens,
            "median_tokens_per_s": speeds[len(speeds) // 2] if speeds else None,
            "median_mfu": uses[len(uses) // 2] if uses else None,
            "final_valid": valids[-1] if valids else None,
            "num_parameters": self.num_parameters,
            "device": self.device_name,
            "devices": self.num_devices,
            "torch": torch.__version__,
            "recipe": dataclasses.asdict(self.recipe),
        }
        text = json.dumps(summary, indent=1, default=str)
        (self.directory / "summary.json").write_text(text + "\n", encoding="utf-8")
        curves = {
            key: [(row["step"], row[key]) for row in self.rows if key in row]
            for key in ("loss", "valid")
        }
        svg = loss_curve(curves)
        (self.directory / "loss.svg").write_text(svg, encoding="utf-8")

    def _write(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def body_flops(config: ModelConfig) -> int:
    """Return training FLOPs of one token in the layers, without the products of attention."""
    width, kv_width = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    attention = config.hidden_size * (2 * width + 2 * kv_width)
    layer = attention + 3 * config.hidden_size * config.intermediate_size
    return 6 * config.num_layers * layer


def head_flops(config: ModelConfig) -> int:
    """Return training FLOPs of one prediction."""
    return 6 * config.hidden_size * config.vocab_size


def loss_curve(
    curves: Mapping[str, Sequence[tuple[float, float]]], width: int = 640, height: int = 360
) -> str:
    """Draw curves of (step, value) as SVG, the value axis cut at the 95th percentile."""
    points = [p for curve in curves.values() for p in curve]
    if not points:
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"/>\n'
    left, bottom = 48, 32
    last = max(x for x, _ in points) or 1
    values = sorted(y for _, y in points)
    low, high = values[0], values[int(0.95 * (len(values) - 1))]
    span = (high - low) or 1.0

    def place(x: float, y: float) -> str:
        px = left + x / last * (width - left - 12)
        py = 12 + (1 - (y - low) / span) * (height - bottom - 12)
        return f"{px:.1f},{py:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<clipPath id="plot"><rect x="{left}" y="12" width="{width - left - 12}" '
        f'height="{height - bottom - 10}"/></clipPath>',  # the steep beginning is cut off
    ]
    for i in range(5):
        y = low + span * i / 4
        px, py = place(0, y).split(",")
        parts.append(f'<path d="M{px} {py}H{width - 12}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 4}" y="{py}" text-anchor="end">{y:.2f}</text>')
        at = last * i / 4
        parts.append(
            f'<text x="{place(at, low).split(",")[0]}" y="{height - 12}" '
            f'text-anchor="{"end" if i == 4 else "middle"}">{at:.0f}</text>'
        )
    for i, (name, curve) in enumerate(curves.items()):
        color = ("#2a6fdb", "#d9480f", "#2b8a3e", "#862e9c")[i % 4]
        line = " ".join(place(x, y) for x, y in curve)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5" '
            'clip-path="url(#plot)"/>'
        )
        parts.append(f'<text x="{width - 70}" y="{28 + 16 * i}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])
