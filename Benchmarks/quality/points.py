"""The points of the picture: what pleat and its peers make of a model, in bits and in error."""

from errors import error
from origins import Origin
from ours import COMPARED, MORE, NARROW, SMALL, WIDE, Pleat, blocks
from theirs import CODEBOOKS, Peer, peers

CHOICES = {
    "tinylm": [*COMPARED, *MORE, *blocks(SMALL)],
    "smollm2": NARROW,
}


def settings(name: str) -> list[Peer]:
    """The settings of peers with the same bits and groups as those of pleat."""
    if name == "tinylm":
        types = [*WIDE, *SMALL, "Q4_1", "MXFP4"]
        return list(peers([4, 3, 2], [32, 64, 128], types, CODEBOOKS))
    return list(peers([3, 2], [32, 64], [], []))


def document(name: str, origin: Origin, pleat: Pleat, say) -> dict:
    """The figures of one model."""
    points = []

    def add(series: str, title: str, bits: float, decoded: dict) -> None:
        line = {"series": series, "title": title, "bits": round(bits, 4)}
        points.append(line | error(origin, decoded).document())
        say(f"{name}: {points[-1]}")

    for choice in CHOICES[name]:
        add(choice.series, choice.title, *pleat.decoded(origin, choice))
    for peer in settings(name):
        add(peer.series, peer.title, *peer.decoded(origin))
    weights = sum(weight.size for weight in origin.weights.values())
    count = len(origin.weights)
    return {"title": origin.title, "weights": weights, "matrices": count, "points": points}
