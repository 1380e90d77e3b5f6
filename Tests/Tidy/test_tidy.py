"""Rules of the code that a compiler does not hold: layers, forbidden words, sizes, format."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "Sources"

# A target imports only from lower layers (ARCHITECTURE.md). Equal numbers may not import each other, but for the
# pairs below: HTTP1 speaks the vocabulary of HTTP, and so on upwards.
LAYERS = {
    "COpenSSL": 0, "CNghttp2": 0, "CLinux": 0, "CTLS": 0, "CBytes": 0, "CTOML": 0,
    "Bytes": 1,
    "Reactor": 2, "Crypto": 2, "HTTP": 2, "Redis": 2,
    "TLS": 3, "HTTP1": 3, "HTTP2": 3, "JOSE": 3,
    "Policy": 4, "Telemetry": 4,
    "Upstream": 5,
    "Proxy": 6,
    "Config": 7,
    "Control": 8,
    "usher": 9,
}

# Which C module may be seen from where: C at an address, wrapped once.
C_MODULES = {
    "COpenSSL": {"Crypto", "TLS"},
    "CNghttp2": {"HTTP2"},
    "CLinux": {"Reactor"},
    "CTLS": {"TLS"},
    "CBytes": {"Bytes"},
    "CTOML": {"Config"},
}

# JOSE knows no HTTP; the sans-I/O layers do no I/O. (Telemetry has the thread that writes the access log.)
NEVER = {
    "JOSE": {"HTTP", "HTTP1", "HTTP2", "Reactor", "TLS"},
    "Policy": {"Reactor"},
    "HTTP": {"Reactor"},
    "Redis": {"Reactor", "HTTP", "Crypto"},
    "HTTP1": {"Reactor"},
    "HTTP2": {"Reactor"},
    "TLS": {"Reactor"},
}

# What comes with the toolchain, and the two packages, each where it belongs.
OUTSIDE = {
    "Glibc": None,
    "Synchronization": None,
    "Logging": {"Control", "usher"},
    "ArgumentParser": {"usher"},
}

# Pointers live here, each use with its SAFETY sentence, and in one file of Config that wraps the C++ of toml++.
UNSAFE_TARGETS = {"Bytes", "Reactor", "Crypto", "TLS", "HTTP2"}
UNSAFE_FILES = {"Config/Loading/TOMLParser.swift"}

LINES_PER_FILE = 400


def swift_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.swift")) if folder.is_dir() else []


FILES = swift_files(SOURCES)


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCES))


def target_of(path: Path) -> str:
    return path.relative_to(SOURCES).parts[0]


def code_of(path: Path) -> list[str]:
    """The lines without comments and without what stands in string literals."""
    lines, in_text = [], False
    for line in path.read_text().splitlines():
        if in_text or line.count('"""') % 2:
            in_text ^= line.count('"""') % 2 == 1
            lines.append("")
            continue
        line = re.sub(r'#*"(?:\\.|[^"\\])*"#*', '""', line)
        lines.append(re.sub(r"//.*", "", line))
    return lines


def imports_of(path: Path) -> list[tuple[int, str]]:
    pattern = re.compile(
        r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
        r"(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)")
    found = []
    for number, line in enumerate(code_of(path), 1):
        if match := pattern.match(line):
            found.append((number, match[1]))
    return found


def offences(pattern: str, skip=lambda path: False) -> list[str]:
    found = []
    for path in FILES:
        if skip(path):
            continue
        for number, line in enumerate(code_of(path), 1):
            if re.search(pattern, line):
                found.append(f"{name_of(path)}:{number}: {line.strip()}")
    return found


def test_there_are_sources():
    assert len(FILES) > 10


def test_every_target_has_a_layer():
    targets = {p.name for p in SOURCES.iterdir() if p.is_dir()}
    assert targets <= set(LAYERS), f"without a layer: {targets - set(LAYERS)}"


def test_a_target_imports_only_from_layers_below():
    wrong = []
    for path in FILES:
        target = target_of(path)
        for number, module in imports_of(path):
            where = f"{name_of(path)}:{number}: {target} imports {module}"
            if module in LAYERS:
                if LAYERS[module] >= LAYERS[target]:
                    wrong.append(f"{where}: layer {LAYERS[module]} from layer {LAYERS[target]}")
                elif target not in C_MODULES.get(module, {target}):
                    wrong.append(f"{where}: only {sorted(C_MODULES[module])} may")
                elif module in NEVER.get(target, ()):
                    wrong.append(f"{where}: never")
            elif module in OUTSIDE:
                if OUTSIDE[module] is not None and target not in OUTSIDE[module]:
                    wrong.append(f"{where}: only {sorted(OUTSIDE[module])} may")
            else:
                wrong.append(f"{where}: not a module of the list")
    assert not wrong, "\n".join(wrong)


def test_no_foundation():
    wrong = [f"{name_of(p)}:{n}" for p in FILES for n, module in imports_of(p) if module.startswith("Foundation")]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "pattern",
    [r"@unchecked\s+Sendable", r"nonisolated\(unsafe\)", r"\btry!", r"\bas!", r"@preconcurrency", r"-Ounchecked"],
)
def test_forbidden(pattern):
    assert not (found := offences(pattern)), "\n".join(found)


def test_no_global_variables():
    """`var` at the beginning of a line is a global; `static var` with a stored value is one too."""
    found = offences(r"^(public |package |private |fileprivate |internal )?var\b.*(?<!\{)$")
    found += offences(r"\bstatic var\b[^{]*=[^{]*$")
    assert not found, "\n".join(found)


def unsafe_lines(path: Path) -> list[int]:
    word = re.compile(r"\bunsafe\b|\bUnsafe(Mutable|Raw|Pointer|Buffer)\w*|\bwithUnsafe\w+|\bOpaquePointer\b")
    return [number for number, line in enumerate(code_of(path), 1) if word.search(line)]


def test_unsafe_only_where_it_may_be():
    found = []
    for path in FILES:
        if target_of(path) in UNSAFE_TARGETS or name_of(path) in UNSAFE_FILES:
            continue
        found += [f"{name_of(path)}:{number}" for number in unsafe_lines(path)]
    assert not found, "\n".join(found)


def test_every_unsafe_use_says_why_it_is_safe():
    """A `// SAFETY:` near each call, member or subscript that is marked `unsafe`: in the closure, or above it.

    Looking whether a pointer is nil, or naming it anew, needs no reason.
    """
    harmless = re.compile(
        r"\bunsafe (?:\w+|self\.\w+) (?:==|!=) nil|\bunsafe [\w.]+ = (?:nil\b|\()|= unsafe \w+(?=[\s,{]|$)"
        r"|\bunsafe (?:precondition|assert)\(")
    found = []
    for path in FILES:
        text = path.read_text().splitlines()
        said = [number for number, line in enumerate(text, 1) if "SAFETY:" in line]
        for number, line in enumerate(code_of(path), 1):
            line = harmless.sub("", line)
            if re.search(r"\bunsafe\b", line) and not any(number - 30 <= at <= number + 8 for at in said):
                found.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_files_stay_short():
    found = []
    for path in FILES:
        if (count := len(path.read_text().splitlines())) > LINES_PER_FILE:
            found.append(f"{name_of(path)}: {count} lines, at most {LINES_PER_FILE}")
    assert not found, "\n".join(found)


def test_no_leftovers():
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = []
    for path in FILES + swift_files(ROOT / "Tests"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_format():
    swift = shutil.which("swift")
    assert swift, "no swift in PATH"
    done = subprocess.run(
        [swift, "format", "lint", "--strict", "--recursive", "Sources", "Tests", "Package.swift"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]


def test_links_of_the_documents():
    """A relative link in a document leads to a file that is there."""
    found = []
    documents = [p for p in ROOT.glob("*.md")] + [p for p in (ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", document.read_text()):
            if not re.match(r"[a-z]+:", target) and not (document.parent / target).exists():
                found.append(f"{document.relative_to(ROOT)}: {target}")
    assert not found, "\n".join(found)


def test_sources_that_the_documents_name():
    """A file or folder of Sources that a document names is there; `Read….swift` is any that begins so."""
    targets = "|".join(sorted(p.name for p in SOURCES.iterdir() if p.is_dir()))
    path = re.compile(rf"(?<![\w/.-])(?:Sources/)?((?:{targets})/[A-Za-z…][\w/…]*(?:\.(?:swift|c|cpp|h)\b)?)")
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {(document, name) for document in documents for name in path.findall(document.read_text())}
    assert len(named) > 100
    gone = [f"{document.relative_to(ROOT)}: {name}" for document, name in named
            if not any(SOURCES.glob(name.rstrip("/").replace("…", "*")))]
    assert not gone, "\n".join(sorted(gone))


def test_every_folder_of_a_target_is_described():
    """ARCHITECTURE.md says of each folder of the large targets what is in it."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    large = ("Policy", "Proxy", "Config", "Control")
    folders = [f"{target}/{p.name}" for target in large for p in (SOURCES / target).iterdir() if p.is_dir()]
    assert [name for name in sorted(folders) if f"| `{name}` |" not in page] == []


def test_every_reason_code_is_documented():
    """The closed list of codes, and something makes each of them."""
    texts = re.findall(r'case \.(\w+): "([a-z_]+)"', (SOURCES / "HTTP/ReasonCode.swift").read_text())
    codes = {text for _, text in texts}
    assert len(codes) > 25
    page = (ROOT / "docs/operations.md").read_text()
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
    lists = {"ReasonCode.swift", "Problem.swift"}
    text = "".join(path.read_text() for path in SOURCES.rglob("*.swift") if path.name not in lists)
    assert [name for name, _ in texts if not re.search(rf"\.{name}\b", text)] == []


def test_readme_commands_exist():
    """Every `make x` that a document names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    found = []
    for document in ROOT.glob("*.md"):
        for name in re.findall(r"`make ([a-z]+)`", document.read_text()):
            if name not in targets:
                found.append(f"{document.name}: make {name}")
    assert not found, "\n".join(found)
