"""What is shipped: the wheel and the source distribution hold the library and every adapter, and they work."""

import re
import sys
import tarfile
import textwrap
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import bulkstatus
from environments import build, dependency_places, run

ROOT = Path(__file__).parents[2]
ADAPTERS = sorted(
    folder.name for folder in (ROOT / "adapters").iterdir() if (folder / "__init__.py").exists()
)
WORDS = [name.removeprefix("bulkstatus_") for name in ADAPTERS]
VERSION = bulkstatus.__version__


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution of the working tree."""
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory):
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        # Not as an argument, which Python before 3.11.4 does not take: Debian 12 has 3.11.2.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def second_wheel(unpacked, tmp_path_factory):
    """The wheel that is built from the source distribution."""
    return build(unpacked, tmp_path_factory.mktemp("second"), "wheel")


@pytest.fixture(params=["tree", "sdist"])
def built(request, wheel, second_wheel):
    """Either wheel."""
    return {"tree": wheel, "sdist": second_wheel}[request.param]


def names_in(path):
    """The files of a wheel."""
    with zipfile.ZipFile(path) as archive:
        return sorted(name for name in archive.namelist() if not name.endswith("/"))


def tree_files():
    """The files of the packages in the working tree, as a wheel names them."""
    roots = [ROOT / "src" / "bulkstatus", *(ROOT / "adapters" / name for name in ADAPTERS)]
    return sorted(
        file.relative_to(root.parent).as_posix()
        for root in roots
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )


def test_there_are_adapters_to_ship():
    """The folders that the tests below compare with are the three we know, at least."""
    assert {"cloudflare", "druid", "weavr"} <= set(WORDS)


def test_a_wheel_holds_the_packages_and_nothing_else(built):
    """The library, every folder of adapters, and the metadata."""
    names = names_in(built)
    assert {name.partition("/")[0] for name in names} == {
        "bulkstatus",
        *ADAPTERS,
        f"bulkstatus-{VERSION}.dist-info",
    }
    assert [name for name in names if ".dist-info/" not in name] == tree_files()


def test_every_package_says_that_it_is_typed(built):
    """py.typed is in each import root."""
    names = names_in(built)
    for package in ("bulkstatus", *ADAPTERS):
        assert f"{package}/py.typed" in names
        assert f"{package}/__init__.py" in names
    for package in ADAPTERS:
        assert f"{package}/fake.py" in names


def test_a_wheel_holds_the_licence_and_names_its_terms(built):
    """LICENSE, the licence expression, the versions of Python, the dependencies."""
    with zipfile.ZipFile(built) as archive:
        info = f"bulkstatus-{VERSION}.dist-info"
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        metadata = archive.read(f"{info}/METADATA").decode()
        tag = archive.read(f"{info}/WHEEL").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    lines = [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist: ") and "extra" not in line
    ]
    required = {re.match("[a-z-]+", line.removeprefix("Requires-Dist: ")).group() for line in lines}
    assert required == {"anyio", "httpx", "msgspec", "python-dateutil", "stamina"}
    assert "Tag: py3-none-any" in tag


def test_every_adapter_has_its_entry_points(built):
    """One word everywhere: the folder's suffix is the entry point of the adapter and of its fake."""
    with zipfile.ZipFile(built) as archive:
        text = archive.read(f"bulkstatus-{VERSION}.dist-info/entry_points.txt").decode()
    points = ConfigParser()
    points.optionxform = str
    points.read_string(text)
    for group, module in (
        ("bulkstatus.adapters", "bulkstatus_{}:"),
        ("bulkstatus.fakes", "bulkstatus_{}.fake:"),
    ):
        assert sorted(points[group]) == WORDS
        for word, target in points[group].items():
            assert target.startswith(module.format(word))
    assert points["console_scripts"]["bulkstatus"] == "bulkstatus.cli:main"


def test_both_wheels_are_the_same(wheel, second_wheel):
    """What is built from the source distribution is what is built from the tree, byte for byte."""
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(second_wheel) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())
        for name in names_in(wheel):
            assert first.read(name) == second.read(name), name


def test_the_source_distribution_holds_what_it_takes_to_test(unpacked):
    """Sources, adapters, tests, licence and readme; no caches and no environments."""
    files = {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
    assert {"LICENSE", "README.md", "pyproject.toml", "src/bulkstatus/py.typed", "tests/conftest.py"} <= files
    for name in ADAPTERS:
        assert f"adapters/{name}/py.typed" in files
    top = {file.partition("/")[0] for file in files}
    assert top <= {
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "adapters",
        "docs",
        "pyproject.toml",
        "src",
        "tests",
    }
    assert not [file for file in files if "__pycache__" in file or file.endswith(".pyc") or ".venv" in file]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that the wheel alone was installed into."""
    folder = tmp_path_factory.mktemp("installed")
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
        *("--disable-pip-version-check", "--no-compile", "--target", str(folder), str(wheel)),
    )
    return folder


def in_installed(folder, code, *arguments):
    """Run code that sees the installed wheel, the standard library and the dependencies; not the working tree."""
    # -S leaves out the .pth files by which an editable installation leads to the working tree.
    path = f"import sys; sys.path[:0] = [{str(folder)!r}]; sys.path += {dependency_places()!r}\n"
    source = path + textwrap.dedent(code)
    return run(sys.executable, "-I", "-S", "-W", "error", "-c", source, *arguments, cwd=folder)


@pytest.mark.parametrize("word", WORDS)
def test_an_installed_adapter_loads_through_its_entry_point(installed, word):
    """From the installed files, and not from the working tree."""
    code = """
        import sys
        from pathlib import Path
        import bulkstatus
        from bulkstatus.testing import load_fake
        word, folder = sys.argv[1:]
        adapter = bulkstatus.load(word)
        fake = load_fake(word)
        for module in (bulkstatus, sys.modules[adapter.__module__], sys.modules[fake.__module__]):
            assert Path(module.__file__).is_relative_to(folder), module.__file__
        assert adapter.provider == fake.word == word
        assert issubclass(adapter, __import__("bulkstatus.adapter").adapter.Adapter)
        print(adapter.__module__.partition(".")[0])
    """
    assert in_installed(installed, code, word, str(installed)).strip() == f"bulkstatus_{word}"


def test_the_installed_library_asks_its_fakes(installed):
    """The whole way, from the installed wheel: fakes on sockets, a client, a list."""
    code = """
        import bulkstatus
        from contextlib import ExitStack
        from bulkstatus.testing import fake_names, load_fake, serve
        with ExitStack() as stack:
            adapters = {}
            for word in fake_names():
                fake = load_fake(word).demo()
                adapters[word] = fake.adapter(stack.enter_context(serve(fake)))
            client = stack.enter_context(bulkstatus.Client(adapters))
            report = client.list()
            assert report.complete, report.failures
            print(len(report) > 0, sorted(p.word for p in bulkstatus.providers() if not p.problem))
    """
    assert in_installed(installed, code).strip() == f"True {WORDS}"
