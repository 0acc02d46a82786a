"""Make asv's site work without a network: its scripts and styles are fetched once with npm and put beside the page."""

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from . import _results

# What index.html of asv 0.6 loads, by the file name in its address, and where npm has it.
ASSETS = {
    "jquery-3.3.1.min.js": ("jquery@3.3.1", "package/dist/jquery.min.js"),
    "jquery.flot.min.js": ("flot@0.8.3", "package/jquery.flot.js"),
    "jquery.flot.time.min.js": ("flot@0.8.3", "package/jquery.flot.time.js"),
    "jquery.flot.selection.min.js": ("flot@0.8.3", "package/jquery.flot.selection.js"),
    "jquery.flot.categories.min.js": ("flot@0.8.3", "package/jquery.flot.categories.js"),
    "jquery.flot.orderBars.js": ("flot-orderbars@1.0.0", "package/js/jquery.flot.orderBars.js"),
    "stupidtable.min.js": ("stupid-table-plugin@1.1.3", "package/stupidtable.min.js"),
    "md5.min.js": ("blueimp-md5@2.19.0", "package/js/md5.min.js"),
    "bootstrap.min.js": ("bootstrap@3.1.1", "package/dist/js/bootstrap.min.js"),
    "bootstrap.min.css": ("bootstrap@3.1.1", "package/dist/css/bootstrap.min.css"),
}
TAG = re.compile(r'<(?:script|link)\b[^>]*?\b(?:src|href)="(https://[^"]+)"[^>]*>')


def vendor(page):
    """The page with every outside script and style taken from ./vendor; the file names that it needs."""
    needed = []

    def local(match):
        name = match[1].rsplit("/", 1)[-1]
        if name not in ASSETS:
            raise KeyError(f"{match[1]} is not known to bench/_offline.py; asv has changed its page")
        needed.append(name)
        # The hashes belong to the addresses; flot is unminified here.
        if name.endswith(".css"):
            return f'<link rel="stylesheet" href="vendor/{name}">'
        return f'<script src="vendor/{name}" onerror="js_load_failure()">'

    return TAG.sub(local, page), needed


def _fetch(names, folder):
    packages = {}
    for name in names:
        packages.setdefault(ASSETS[name][0], []).append(name)
    with tempfile.TemporaryDirectory() as scratch:
        for package, files in packages.items():
            run = ["npm", "pack", "--silent", package]
            archive = subprocess.check_output(run, cwd=scratch, text=True).split()[-1]
            with tarfile.open(Path(scratch) / archive) as tar:
                for name in files:
                    (folder / name).write_bytes(tar.extractfile(ASSETS[name][1]).read())


def main(html=_results.ASV / "html"):
    page = html / "index.html"
    if not page.exists():
        print("bench: no asv site yet; run `asv publish` first.")
        return 2
    text, needed = vendor(page.read_text(encoding="utf-8"))
    missing = [name for name in needed if not (html / "vendor" / name).exists()]
    if missing and shutil.which("npm") is None:
        print("bench: npm is needed once to fetch the scripts of asv's site, and is not installed.")
        print("       The report (python -m bench report) needs nothing.")
        return 2
    (html / "vendor").mkdir(exist_ok=True)
    try:
        _fetch(missing, html / "vendor")
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"bench: npm could not fetch the scripts of asv's site: {error}")
        return 2
    _results.write(page, text)
    _results.write(html / "vendor" / "packages.json", json.dumps(sorted({p for p, _ in ASSETS.values()}), indent=1))
    print(page)
    return 0
