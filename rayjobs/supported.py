"""Whether rayjobs can work on a Python and a platform, said in one line.

Plain enough for every Python, so that one that is too old still gets that line: `python supported.py`.
"""

import platform
import sys


def unsupported(python, system, machine):
    # type: (tuple[int, ...], str, str) -> str | None
    """Why rayjobs cannot work on such a Python or platform, in one line; None if it can."""
    if not (3, 11) <= python[:2] < (3, 13):
        found = ".".join(str(number) for number in python[:2])
        return "needs Python 3.11 or 3.12 (PySpark 3.5 and RayDP go no further); this is " + found
    if system not in ("linux", "darwin") or machine not in ("x86_64", "AMD64", "aarch64", "arm64"):
        return "needs Linux or macOS on x86-64 or ARM64 (so do Ray and RayDP); this is " + system + " on " + machine
    return None


def unsupported_here():
    # type: () -> str | None
    """`unsupported` of the Python and the platform that run this."""
    return unsupported(tuple(sys.version_info), sys.platform, platform.machine())


if __name__ == "__main__":
    reason = unsupported_here()
    if reason:
        sys.stderr.write("rayjobs: " + reason + "\n")
        sys.exit(2)
