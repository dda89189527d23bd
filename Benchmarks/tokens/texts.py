"""Text in many scripts: Python's standard library, and the help pages of LibreOffice."""

import html
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LIMIT = 4_000_000  # bytes of a text
LANGUAGES = {
    "English": "en-us",
    "German": "de",
    "Russian": "ru",
    "Greek": "el",
    "Chinese": "zh-cn",
    "Japanese": "ja",
    "Korean": "ko",
    "Hindi": "hi",
    "Khmer": "km",
}
HIDDEN = re.compile(r"<(script|style|head)\b.*?</\1>", re.DOTALL)


def lines_of_page(page: str) -> Iterator[str]:
    for line in html.unescape(re.sub(r"<[^>]*>", "", HIDDEN.sub("", page))).split("\n"):
        if line.strip():
            yield line.strip()


def help_pages(language: str, work: Path) -> list[str]:
    """The lines, each once, because menus and notes are on many pages."""
    package = f"libreoffice-help-{language}"
    subprocess.run(["apt-get", "-qq", "download", package], cwd=work, check=True)
    archive = next(work.glob(f"{package}_*.deb"))
    folder = work / package
    subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
    pages = sorted(folder.rglob("*.html"))
    return list(dict.fromkeys(line for path in pages for line in lines_of_page(path.read_text())))


def source() -> str:
    folder = Path(sysconfig.get_path("stdlib"))
    return "".join(
        path.read_text()
        for path in sorted(folder.glob("*.py")) + sorted(folder.glob("[a-z]*/*.py"))
        if "packages" not in str(path.parent) and "test" not in str(path.parent)
    )


def prepare(work: Path) -> dict[str, Path]:
    """Files of at most 4 MB of text, in languages and code."""
    paths = {name: work / f"{name}.txt" for name in ["code", *LANGUAGES]}
    if all(path.exists() for path in paths.values()):
        return paths
    english = help_pages(LANGUAGES["English"], work)
    untranslated = set(english)
    for name, path in paths.items():
        if name == "code":
            text = source()
        elif name == "English":
            text = "\n".join(english)
        else:
            pages = help_pages(LANGUAGES[name], work)
            text = "\n".join(line for line in pages if line not in untranslated)
        path.write_text(text.replace("\0", "").encode()[:LIMIT].decode(errors="ignore"))
    return paths
