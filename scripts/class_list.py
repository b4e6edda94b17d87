"""The classes that a context's JVMs load while everyday jobs run, as the list that the archive is made from."""

from __future__ import annotations

import lzma
import tempfile
from pathlib import Path

from rayjobs.spark.archive import CLASS_LIST
from scripts.benchmarks.stage import APP, create_context, delete_context, run_job, serving, upload, zip_of

JOBS = Path(__file__).with_name("class_list_jobs.py")


def main() -> None:
    """One service, one context, one job; each JVM writes a file of its own."""
    with tempfile.TemporaryDirectory(prefix="rayjobs-class-list-") as folder:
        options = f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:off -XX:DumpLoadedClassList={folder}/%p.lst"
        settings = f'contexts.jvm-options = "{options} -Xss4m"\ncontexts.executor-jvm-options = "{options}"\n'
        with serving(settings) as service:
            upload(service.http, APP, zip_of(JOBS))
            create_context(service.http, "class-list")
            run_job(service.http, "class_list_jobs.Everyday", "class-list")
            delete_context(service.http, "class-list")
        lists = sorted(Path(folder).glob("*.lst"))
        classes = _merged(lists)
    CLASS_LIST.write_bytes(lzma.compress("".join(classes).encode(), preset=9))
    print(f"{len(classes)} classes of {len(lists)} JVMs are in {CLASS_LIST}")


def _merged(lists: list[Path]) -> list[str]:
    """Each line once, in the order in which the JVMs loaded the classes."""
    lines = [line for path in lists for line in path.read_text().splitlines(keepends=True)]
    return [line for line in dict.fromkeys(lines) if not line.startswith("#")]


main()
