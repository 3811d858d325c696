// vishvananda/netlink, used as its documentation shows.
//
//	go-peer create N PREFIX BRIDGE...
//	go-peer delete N PREFIX
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func create(name string, bridge int) {
	tap := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: bridge},
		Mode:      netlink.TUNTAP_MODE_TAP,
		Flags:     netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_TUN_EXCL,
		Queues:    1,
		Owner:     uint32(os.Geteuid()),
		Group:     uint32(os.Getegid()),
	}
	must(netlink.LinkAdd(tap))
	must(netlink.LinkSetUp(tap))
	for _, file := range tap.Fds {
		must(file.Close())
	}
}

func main() {
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	bridges := []int{}
	for _, name := range os.Args[4:] {
		link, err := netlink.LinkByName(name)
		must(err)
		bridges = append(bridges, link.Attrs().Index)
	}
	samples := make([]float64, 0, count)
	began := time.Now()
	for i := 0; i < count; i++ {
		before := time.Now()
		name := fmt.Sprintf("%s%d", os.Args[3], i)
		if os.Args[1] == "create" {
			create(name, bridges[i%len(bridges)])
		} else {
			link, err := netlink.LinkByName(name)
			must(err)
			must(netlink.LinkDel(link))
		}
		samples = append(samples, float64(time.Since(before).Nanoseconds())/1e3)
	}
	total := float64(time.Since(began).Nanoseconds()) / 1e3
	sort.Float64s(samples)
	at := func(share float64) float64 { return samples[int(share*float64(count-1))] }
	fmt.Printf("{\"count\":%d,\"total\":%f,\"p50\":%f,\"p99\":%f,\"max\":%f}\n", count, total, at(0.5), at(0.99), at(1))
}
