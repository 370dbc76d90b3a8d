"""Results of the command line, for people."""

from __future__ import annotations

from typing import Any

from . import backbone_wording


def result_text(verb: str, result: dict[str, Any]) -> str:
    """A job's result as the lines that the command prints."""
    makers = {
        "train": _train,
        "plan": _plan,
        "compare": _compare,
        "predict": _predict,
        "evaluate": score_text,
        "inspect": _inspect,
        "backbones": _backbones,
    }
    return makers[verb](result)


def score_text(score: dict[str, Any]) -> str:
    """Scores as a small table."""
    lines = [
        f"overall accuracy {_percent(score['overall_accuracy'])}, "
        f"mean IoU {_figure(score['mean_iou'])}, macro-F1 {_figure(score['macro_f1'])}",
        f"{'class':<28} {'F1':>6} {'IoU':>6} {'user':>6} {'prod':>6} {'pixels':>9}",
    ]
    for row in score["per_class"]:
        figures = [row["f1"], row["iou"], row["users_accuracy"], row["producers_accuracy"]]
        cells = " ".join(f"{_figure(value):>6}" for value in figures)
        lines.append(f"{row['name'][:28]:<28} {cells} {row['support']:>9}")
    return "\n".join(lines)


def _train(result: dict[str, Any]) -> str:
    epochs = "1 epoch" if result["epochs"] == 1 else f"{result['epochs']} epochs"
    lines = [f"{result['adapter']}: trained {epochs} in {result['seconds']:.0f} s"]
    if result["score"]:
        lines += ["on the held-out polygons:", score_text(result["score"])]
    else:
        lines.append("nothing was held out: there is no score")
    lines += _region(result["card"])
    if result["report"]:
        lines.append(f"report: {result['report']}")
    return "\n".join(lines)


def _region(card: dict[str, Any]) -> list[str]:
    """An adapter's score in the unseen region; nothing without one."""
    if not card.get("region_score"):
        return []
    which = card["training"].get("unseen_region", "")
    return [f"in the unseen region ({which}):", score_text(card["region_score"])]


def _plan(result: dict[str, Any]) -> str:
    lines = [result["text"]]
    match = result["matching"]
    if match["summary"]:
        lines += [
            f"bands for the backbone: {match['summary']}",
            *(f"  {t}" for t in match["lines"]),
        ]
    whose = "backbone's card" if result["normalisation"] == "card" else "image's own statistics"
    lines.append(f"values: {result['image']['scale']}, standardised by the {whose}")
    lines += [
        f"  {entry['code']:>5} {entry['name'][:40]:<40} {entry['polygons']:>5} polygons "
        f"{entry['pixels']:>9} pixels"
        for entry in result["classes"]
    ]
    lines += [f"warning: {text}" for text in result["warnings"]]
    return "\n".join(lines)


def _compare(result: dict[str, Any]) -> str:
    wide = max(len(summary["choice"]) for summary in result["choices"])
    region = any(summary["region_score"] is not None for summary in result["choices"])
    lines = [
        f"{'choice':<{wide}} {'macro-F1':>8}{' unseen' * region} {'spread':>7} {'minutes':>7} "
        f"{'memory MB':>9} {'file MB':>8} {'trained':>11}"
    ]
    for entry in result["choices"]:
        if entry["score"] is None:
            lines.append(f"{entry['choice']:<{wide}} {entry['error'] or 'no score'}")
            continue
        peak = "-" if entry["peak_mb"] is None else f"{entry['peak_mb']:.0f}"
        beyond = f" {_figure(entry['region_score']):>6}"
        mark = "  not told apart from the best" if entry["like_best"] else ""
        if entry["like_best"] and entry["difference"][0] == 0:
            mark = "  the best"
        mark += f"  ({entry['error']})" if entry["error"] else ""
        lines.append(
            f"{entry['choice']:<{wide}} {_figure(entry['score']):>8}"
            f"{beyond * region} {_figure(entry['spread']):>7} {entry['minutes']:>7.2f} {peak:>9} "
            f"{entry['adapter_mb']:>8.2f} {entry['parameters']:>11}{mark}"
        )
    if result["report"]:
        lines.append(f"report: {result['report']}")
    return "\n".join(lines)


def _predict(result: dict[str, Any]) -> str:
    files = [result["map"], result["confidence"], result["probabilities"]]
    return (
        f"{', '.join(name for name in files if name)}: {result['pixels']} pixels classified in "
        f"{result['seconds']:.0f} s"
    )


def _inspect(result: dict[str, Any]) -> str:
    card = result["card"]
    training = card["training"]
    lines = [
        f"{card['name']}: sound, {result['size'] / 1e6:.1f} MB, format {card['format']}",
        f"backbone {card['backbone']['id']}, method {card['method']['name']}, "
        f"decoder {card['decoder']['name']}, made {card.get('created', '?')} "
        f"by Tilth {card.get('tilth', '?')}",
        "bands " + ", ".join(band["name"] for band in card["bands"]),
        f"trained on {training.get('polygons', '?')} polygons, "
        f"{training.get('pixels', '?')} pixels",
        "classes " + ", ".join(f"{entry['code']} {entry['name']}" for entry in card["classes"]),
    ]
    if card.get("score"):
        lines += ["on its held-out polygons:", score_text(card["score"])]
    lines += _region(card)
    return "\n".join(lines)


def _backbones(result: dict[str, Any]) -> str:
    if "removed" in result:
        return f"{result['removed']}: removed; {result['freed'] / 1e6:.1f} MB are free again"
    if "verified" in result:
        return backbone_wording.fetched_text(result)
    if "backbones" in result:
        return backbone_wording.list_text(result["backbones"])
    return backbone_wording.show_text(result)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
