package tickbridge

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

const slots = 16384

// cluster has the nodes of a Redis Cluster that are known. Readers of a client share it.
type cluster struct {
	named []string // those of the URL; the others are learned from these

	mutex sync.Mutex
	nodes []string // the one to ask next is the first
}

func newCluster(named []string) *cluster {
	return &cluster{named: named, nodes: append([]string(nil), named...)}
}

// owner returns the address of the master that has a slot. Each time another node is asked first: one that is cut off from
// the others goes on naming a master that no longer is one.
func (c *cluster) owner(slot int, ask func(address string, words ...string) (any, error)) (string, error) {
	var failure error
	for range c.known() {
		address := c.turn()
		reply, err := ask(address, "CLUSTER", "SLOTS")
		var ranges []slotRange
		if err == nil {
			ranges, err = asRanges(reply, address)
		}
		if err != nil {
			var refused refusal
			if failure == nil || errors.As(err, &refused) { // a refusal says more than that another node is down
				failure = err
			}
			continue
		}
		c.learn(ranges)
		for _, one := range ranges {
			if one.first <= int64(slot) && int64(slot) <= one.last && one.owner != "" {
				return one.owner, nil
			}
		}
		if failure == nil {
			failure = fmt.Errorf("no node has slot %d of the Cluster", slot)
		}
	}
	return "", failure
}

func (c *cluster) known() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]string(nil), c.nodes...)
}

// turn returns the node to ask; another one is the next.
func (c *cluster) turn() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	address := c.nodes[0]
	c.nodes = append(c.nodes[1:], address)
	return address
}

// learn replaces the nodes, and keeps their order.
func (c *cluster) learn(ranges []slotRange) {
	current := append([]string(nil), c.named...)
	for _, one := range ranges {
		current = append(current, one.nodes...)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var nodes []string
	for _, address := range append(c.nodes, current...) {
		if contains(current, address) && !contains(nodes, address) {
			nodes = append(nodes, address)
		}
	}
	c.nodes = nodes
}

// slotRange is a row of the reply to CLUSTER SLOTS.
type slotRange struct {
	first, last int64
	owner       string
	nodes       []string // the owner and its replicas
}

func asRanges(reply any, asked string) ([]slotRange, error) {
	rows, is := reply.([]any)
	if !is && reply != nil {
		return nil, errProtocol
	}
	var ranges []slotRange
	for _, one := range rows {
		row, _ := one.([]any)
		if len(row) < 3 {
			return nil, errProtocol
		}
		first, isFirst := row[0].(int64)
		last, isLast := row[1].(int64)
		if !isFirst || !isLast {
			return nil, errProtocol
		}
		found := slotRange{first: first, last: last}
		for place, node := range row[2:] {
			parts, _ := node.([]any)
			if len(parts) < 2 {
				return nil, errProtocol
			}
			host, _ := parts[0].(string)
			port, isPort := parts[1].(int64)
			if !isPort {
				return nil, errProtocol
			}
			if host == "?" { // the node announces no name
				continue
			}
			address := besides(asked, host, strconv.FormatInt(port, 10))
			found.nodes = append(found.nodes, address)
			if place == 0 {
				found.owner = address
			}
		}
		ranges = append(ranges, found)
	}
	return ranges, nil
}

// besides is the address of a node, as another one says it: without a host if it is the same.
func besides(asked, host, port string) string {
	if host == "" {
		host, _, _ = net.SplitHostPort(asked)
	}
	return net.JoinHostPort(host, port)
}

// redirection says where MOVED or ASK sends a command that a node refused; false if this is another error.
func redirection(err error, asked string) (address string, ask, is bool) {
	var refused refusal
	if !errors.As(err, &refused) {
		return "", false, false
	}
	words := strings.Split(string(refused), " ")
	if len(words) != 3 || (words[0] != "MOVED" && words[0] != "ASK") {
		return "", false, false
	}
	colon := strings.LastIndex(words[2], ":")
	if colon < 0 {
		return "", false, false
	}
	return besides(asked, strings.Trim(words[2][:colon], "[]"), words[2][colon+1:]), words[0] == "ASK", true
}

// slotOf is the hash slot of a key, which depends on the part in braces.
func slotOf(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if size := strings.IndexByte(key[open+1:], '}'); size > 0 {
			key = key[open+1 : open+1+size]
		}
	}
	crc := uint16(0) // CRC-16/XMODEM
	for place := 0; place < len(key); place++ {
		crc ^= uint16(key[place]) << 8
		for bit := 0; bit < 8; bit++ {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}
