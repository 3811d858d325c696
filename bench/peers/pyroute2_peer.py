"""pyroute2, used as its documentation shows: create N PREFIX BRIDGE... | delete N PREFIX"""

import json
import os
import sys
import time

from pyroute2 import IPRoute


def main(what, count, prefix, *bridges):
    ip = IPRoute()
    masters = [ip.link_lookup(ifname=bridge)[0] for bridge in bridges]
    samples = []
    for i in range(int(count)):
        name = f"{prefix}{i}"
        before = time.perf_counter()
        if what == "create":
            ip.link("add", ifname=name, kind="tuntap", mode="tap", uid=os.geteuid())
            index = ip.link_lookup(ifname=name)[0]
            ip.link("set", index=index, master=masters[i % len(masters)], state="up")
        else:
            ip.link("del", index=ip.link_lookup(ifname=name)[0])
        samples.append((time.perf_counter() - before) * 1e6)
    ip.close()
    total = sum(samples)
    samples.sort()
    at = lambda share: samples[int(share * (len(samples) - 1))]
    print(json.dumps({"count": len(samples), "total": total, "p50": at(0.5), "p99": at(0.99), "max": at(1)}))


main(*sys.argv[1:])
