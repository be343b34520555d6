#!/usr/bin/env python3
"""What makes a file that includes all of vbon cost what it does: the functions that are no templates, by the code of
templates that each of them has compiled, called or not (docs/architecture.md, "Compiled when called").

    benchmarks/include_graph.py [--include HEADER] [--least BYTES] [--compiler g++] [--eigen FOLDER]

The header is compiled without optimisation and with every inline function kept; the calls are the relocations of the
object file. A function that stands at the top and is called by programs alone should be a template that waits for a call.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import tempfile


def run(*command, text=None):
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


def one_name(symbol):
    """Constructors and destructors have two names each for the same code."""
    return re.sub(r"([CD])1(?=E)", r"\g<1>2", symbol)


def compile_everything(options):
    root = pathlib.Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        source, code = pathlib.Path(folder, "all.cpp"), pathlib.Path(folder, "all.o")
        source.write_text(f'#include "{options.include}"\n')
        run(options.compiler, "-std=c++20", "-O0", "-fkeep-inline-functions", "-ffunction-sections", "-march=native", "-I",
            str(root / "include"), "-isystem", options.eigen, "-c", str(source), "-o", str(code))
        return run("nm", "-S", str(code)), run("objdump", "-r", str(code))


def read_graph(symbols, relocations):
    """Bytes of each function, and what it calls or takes the address of."""
    size = {}
    for line in symbols.splitlines():
        fields = line.split()
        if len(fields) == 4:
            size[one_name(fields[3])] = int(fields[1], 16)
    calls, caller = collections.defaultdict(set), None
    for line in relocations.splitlines():
        if section := re.match(r"RELOCATION RECORDS FOR \[\.(?:text|rodata|data|data\.rel\.ro)(?:\.\w+)*?\.(_Z\S+)\]", line):
            caller = one_name(section[1])
        elif line.startswith("RELOCATION"):
            caller = None
        elif caller and len(fields := line.split()) == 3:
            if callee := re.search(r"_Z\w+", fields[2]):
                calls[caller].add(one_name(callee[0]))
    return size, calls


def is_template(name):
    """Of a demangled name; what belongs to a lambda or a table is compiled for the function around it."""
    if name.startswith(("_Z", "decltype")) or re.search(r"\{lambda|vtable|typeinfo|guard variable", name):
        return True
    depth = 0
    for i, letter in enumerate(name):
        if letter == "(" and depth == 0:
            name = name[:i]
            break
        depth += (letter == "<") - (letter == ">")
    return "<" in re.sub(r"operator(<=>|<<|<=|<|->)", "operator", name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--include", default="vbon/vbon.hpp")
    parser.add_argument("--least", type=int, default=4000, help="bytes of templates below which a function is not listed")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--eigen", default="/usr/include/eigen3", help="the folder that holds Eigen/Core")
    options = parser.parse_args()

    size, calls = read_graph(*compile_everything(options))
    symbols = sorted(set(size) | set(calls) | {callee for callees in calls.values() for callee in callees})
    name = dict(zip(symbols, run("c++filt", text="\n".join(symbols)).splitlines()))
    template = {symbol: is_template(name[symbol]) for symbol in symbols}

    def templates_reached(starts):
        seen, waiting = set(starts), list(starts)
        while waiting:
            for callee in calls.get(waiting.pop(), ()):
                if callee not in seen:
                    seen.add(callee)
                    waiting.append(callee)
        return sum(size.get(symbol, 0) for symbol in seen if template[symbol])

    plain = [symbol for symbol in symbols if symbol in size and not template[symbol]]
    own = [symbol for symbol in plain if name[symbol].startswith("vbon::")]
    print(f"{len(size)} functions; {templates_reached(plain)} bytes of templates, "
          f"{templates_reached(set(plain) - set(own))} of them for headers from elsewhere")
    for reached, symbol in sorted(((templates_reached([symbol]), symbol) for symbol in own), reverse=True):
        if reached >= options.least:
            print(f"{reached:8d}  {name[symbol]}")


if __name__ == "__main__":
    main()
