"""How near the tactics come to what the device can do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.gpu.catalog import Device, find_device
from tuner.report.blocks import Chart, Section, TableBlock, Text
from tuner.report.charts import ACCENT, MUTED, SECOND, colours, layered
from tuner.report.jobs import TunedProblem
from tuner.report.text import duration, number, percent

if TYPE_CHECKING:
    import altair as alt


def roofline(job: TunedProblem) -> Section | None:
    """Arithmetic intensity and rate of winner and default under the roofs of the device (Williams et al., 2009)."""
    times = {
        name: t.time_us for name, t in (("winner", job.winner), ("default", job.default)) if t is not None and t.time_us
    }
    if not times or not job.bytes:
        return None
    try:
        device = find_device(job.device)
    except ConfigError:
        why = f"No peak rates of the {job.device} are known, so the roofs cannot be drawn."
        return Section("Roofline", [Text(why, note=True), _rates(job, times, None)])
    draw = _roofs if job.flops else _bandwidth
    chart = Chart(
        "Position under the roofs",
        (
            "Rates from the bytes that must cross memory and the operations that must be done, as the kernel declares "
            f"them, and {job.timed_word} times. Copy is what a device copy reaches, read and written bytes together; "
            "the other roofs are the data sheet's."
        ),
        lambda width: draw(job, times, device, width),
        wide=bool(job.flops),
    )
    return Section("Roofline", [chart, _rates(job, times, device)])


def _gbps(job: TunedProblem, time_us: float) -> float:
    return job.bytes / time_us / 1e3


def _tflops(job: TunedProblem, time_us: float) -> float:
    return job.flops / time_us / 1e6


def _compute_roofs(job: TunedProblem, device: Device) -> dict[str, float]:
    """Peak rates in teraflops that this problem's data types may reach; all rates where they are not recorded."""
    rates = {DTYPES[name].tensor for name in job.dtypes if name in DTYPES} if job.dtypes else device.tensor_tflops
    roofs = {f"{t} tensor cores": peak for t, peak in device.tensor_tflops.items() if t in rates}
    return {**roofs, "fp32, no tensor cores": device.fp32_tflops}


def _rates(job: TunedProblem, times: dict[str, float], device: Device | None) -> TableBlock:
    header = ["", job.timed_word, "GB/s", *([] if device is None else ["of a copy"])]
    fastest = _tflops(job, min(times.values()))
    # Who is above a roof does not use what the roof stands for.
    roofs = {} if device is None else {n: peak for n, peak in _compute_roofs(job, device).items() if peak >= fastest}
    if job.flops:
        header += ["TFLOP/s", *(f"of {name}" for name in roofs)]
    rows = []
    for name, time_us in times.items():
        row = [name, duration(time_us), number(round(_gbps(job, time_us)))]
        if device is not None:
            row.append(percent(_gbps(job, time_us) / device.copy_gbps, 1))
        if job.flops:
            row.append(f"{_tflops(job, time_us):.4g}")
            row += [percent(_tflops(job, time_us) / peak, 1) for peak in roofs.values()]
        rows.append(row)
    flops = f", {number(job.flops)} floating-point operations" if job.flops else ""
    return TableBlock(header, rows, caption=f"Rates: {number(job.bytes)} bytes{flops} a launch")


def _bandwidth(job: TunedProblem, times: dict[str, float], device: Device, width: int) -> alt.LayerChart:
    """A kernel that computes nothing has one roof: memory."""
    import altair as alt
    import pandas as pd

    data = pd.DataFrame({"what": list(times), "rate": [_gbps(job, t) for t in times.values()]})
    roofs = pd.DataFrame({"roof": ["copy", "data sheet"], "rate": [device.copy_gbps, device.dram_gbps]})
    top = 1.05 * max(device.dram_gbps, data["rate"].max())
    x = alt.X("rate:Q", title="GB/s", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(tickCount=5))
    y = alt.Y("what:N", sort=list(times), title=None)
    bars = alt.Chart(data).encode(x=x, y=y)
    lines = alt.Chart(roofs).encode(x=alt.X("rate:Q"))
    layers = (
        bars.mark_bar(height=22, color=ACCENT),
        bars.mark_text(align="right", dx=-6, fill="var(--surface)").encode(text=alt.Text("rate:Q", format=",.0f")),
        lines.mark_rule(color=SECOND, strokeDash=[5, 3], strokeWidth=2),
        *(
            alt.Chart(roofs.iloc[[i]])
            .mark_text(align="right", dx=2, fill=SECOND)
            .encode(x=alt.X("rate:Q"), y=alt.value(-6 - 15 * i), text="roof:N")  # the roofs are near each other
            for i in range(len(roofs))
        ),
    )
    return layered(*layers, width=width, height=90 + 34 * len(times))


def _decades(low: float, high: float) -> list[float]:
    return [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _roofs(job: TunedProblem, times: dict[str, float], device: Device, width: int) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    intensity = job.flops / job.bytes
    compute = _compute_roofs(job, device)
    slope = device.copy_gbps / 1e3  # teraflops at one operation a byte
    ridge = max(compute.values()) / slope
    low, high = min(intensity, ridge) / 8, max(intensity, ridge) * 8
    lines, labels = [], []
    for name, peak in compute.items():
        knee = peak / slope
        lines += [(name, max(low, knee), peak), (name, high, peak)]
        labels.append((high, peak, name))
    lines += [("copy", low, low * slope), ("copy", ridge, ridge * slope)]
    middle = math.sqrt(low * ridge)
    labels.append((middle, middle * slope, "copy"))
    points = pd.DataFrame(
        [(name, intensity, _tflops(job, t)) for name, t in times.items()], columns=["what", "intensity", "tflops"]
    )
    bottom, top = min(points["tflops"].min(), low * slope, *compute.values()) / 1.5, 2 * max(compute.values())
    x = alt.X(
        "intensity:Q",
        title="operations per byte",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=_decades(low, high), format="~r", grid=False),
    )
    y = alt.Y(
        "tflops:Q",
        title="TFLOP/s",
        scale=alt.Scale(type="log", domain=[bottom, top], nice=False),
        axis=alt.Axis(values=_decades(bottom, top), format="~r", grid=False),
    )
    roofs = alt.Chart(pd.DataFrame(lines, columns=["roof", "intensity", "tflops"]))
    names = pd.DataFrame(labels, columns=["intensity", "tflops", "roof"])
    layers = (
        roofs.mark_line(color=MUTED, strokeWidth=2).encode(x=x, y=y, detail="roof:N"),
        alt.Chart(names[names["roof"] != "copy"])
        .mark_text(align="right", dy=-8, dx=-2)
        .encode(x=alt.X("intensity:Q"), y=alt.Y("tflops:Q"), text="roof:N"),
        alt.Chart(names[names["roof"] == "copy"])
        .mark_text(align="left", dx=10, dy=12)
        .encode(x=alt.X("intensity:Q"), y=alt.Y("tflops:Q"), text="roof:N"),
        *(
            alt.Chart(points[points["what"] == name])
            .mark_point(filled=filled, size=size, opacity=1, strokeWidth=2)
            .encode(x=alt.X("intensity:Q"), y=alt.Y("tflops:Q"), color=colours(list(times), ACCENT, SECOND))
            for name, filled, size in (("winner", True, 50), ("default", False, 190))
            if name in times
        ),
    )
    return layered(*layers, width=width, height=300)
