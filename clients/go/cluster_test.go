package tickbridge

import (
	"errors"
	"strings"
	"testing"
)

func TestSlotsAreThoseOfRedis(t *testing.T) {
	for key, slot := range map[string]int{"": 0, "foo": 12182, "123456789": 12739, "md:{foo}:trades": 12182, "{}foo": 9500, "a{foo": 113, "x{foo}{bar}": 12182} {
		if found := slotOf(key); found != slot {
			t.Errorf("%q: %d, not %d", key, found, slot)
		}
	}
}

func TestTheOwnerOfASlotIsWhoeverANodeNames(t *testing.T) {
	node := func(host any, port int64) []any { return []any{host, port, "id"} }
	reply := []any{
		[]any{int64(0), int64(99), node("", 1), node("b", 2)},
		[]any{int64(100), int64(200), node("?", 3), node("c", 4)},
		[]any{int64(201), int64(300), node("::1", 5)},
	}
	var asked []string
	nodes := newCluster([]string{"a:1", "dead:1"})
	ask := func(address string, _ ...string) (any, error) {
		asked = append(asked, address)
		if address == "dead:1" {
			return nil, errors.New("it is dead")
		}
		return reply, nil
	}
	for slot, owner := range map[int]string{0: "a:1", 99: "a:1", 250: "[::1]:5"} {
		nodes.nodes = []string{"a:1", "dead:1"}
		if found, err := nodes.owner(slot, ask); found != owner || err != nil {
			t.Errorf("%d: %s %v", slot, found, err)
		}
	}
	// Of a master without a name, and of a slot that nobody has, every node is asked, each of them once.
	for _, slot := range []int{150, 999} {
		asked = nil
		nodes.nodes = []string{"dead:1", "a:1"}
		if _, err := nodes.owner(slot, ask); err == nil || strings.Join(asked, " ") != "dead:1 a:1" {
			t.Errorf("%d: %v %v", slot, err, asked)
		}
	}
	if found := strings.Join(nodes.nodes, " "); found != "dead:1 a:1 b:2 c:4 [::1]:5" {
		t.Errorf("the nodes are %s", found)
	}
	for _, odd := range []any{"text", []any{1}, []any{[]any{int64(0), int64(1), []any{"a"}}}, []any{[]any{"0", int64(1), node("a", 1)}}} {
		reply := odd
		if _, err := newCluster([]string{"a:1"}).owner(0, func(string, ...string) (any, error) { return reply, nil }); !errors.Is(err, errProtocol) {
			t.Errorf("%v: %v", odd, err)
		}
	}
}

func TestARedirectionNamesANode(t *testing.T) {
	for said, wanted := range map[string]string{"MOVED 1 b:2": "b:2", "ASK 1 b:2": "b:2 ask", "MOVED 1 :2": "a:2", "MOVED 1 ::1:2": "[::1]:2", "ERR 1 b:2": "", "MOVED": ""} {
		address, ask, _ := redirection(refusal(said), "a:1")
		if ask {
			address += " ask"
		}
		if address != wanted {
			t.Errorf("%s: %q", said, address)
		}
	}
}
