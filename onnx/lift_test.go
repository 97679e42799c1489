package onnx

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// requireLiftedAlike reads b with its elements lifted, however small, and
// compares with what decoding it as a whole gave. It reports whether b could be
// lifted.
func requireLiftedAlike(t *testing.T, b []byte, whole *Model, wholeErr error) bool {
	t.Helper()
	f := bytes.NewReader(b)
	l, err := lift(f, f.Size(), 1)
	if err != nil {
		if wholeErr == nil && err != errNotLiftable {
			t.Fatalf("decodes, but lifting fails: %v", err)
		}
		return false
	}
	m, err := decodeWith(l.rest, nil, func(p *pb.ModelProto) error { return l.put(f, p) })
	if (err == nil) != (wholeErr == nil) {
		t.Fatalf("lifted: %v; as a whole: %v", err, wholeErr)
	}
	if err == nil && !bytes.Equal(mustEncode(t, m), mustEncode(t, whole)) {
		t.Fatal("the lifted file gives another model")
	}
	return true
}

func TestLiftFixtures(t *testing.T) {
	for _, path := range fixtures(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(b, nil)
		if !requireLiftedAlike(t, b, m, err) {
			t.Errorf("%s cannot be lifted", path)
		}
	}
}

// TestLift has files that no exporter writes but that protobuf reads: what
// decides is how messages of several parts are merged.
func TestLift(t *testing.T) {
	field := func(num protowire.Number, parts ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), bytes.Join(parts, nil))
	}
	number := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	tensor := func(name string, more ...[]byte) []byte {
		return field(5, append(more, number(1, 2), number(2, 3), field(8, []byte(name)))...) // int8 [2]
	}
	raw := func(s string) []byte { return field(9, []byte(s)) }
	group := protowire.AppendTag(protowire.AppendTag(nil, 1000, protowire.StartGroupType), 1000, protowire.EndGroupType)
	long := []byte{0x80 | 13<<3, 0, 0} // unknown field 13, its tag in two bytes where one would do
	for _, c := range []struct {
		name    string
		file    []byte
		lifts   bool
		decodes bool
	}{
		{"raw data before the name", field(7, tensor("a", raw("12")), tensor("b", raw("34"))), true, true},
		{"the graph in two parts", append(field(7, tensor("a", raw("12"))), field(7, tensor("b", raw("34")))...), true, true},
		{"raw data twice", field(7, tensor("a", raw("12"), raw("34"))), false, true},
		{"an unknown group", append(field(7, tensor("a", raw("12"))), group...), false, true},
		{"an unknown field", append(field(7, tensor("a", raw("12"))), field(900, []byte("x"))...), true, true},
		{"a longer number than needed", append(long, field(7, tensor("a", raw("12")))...), false, true},
		{"too few elements", field(7, tensor("a", raw("1"))), true, false},
		{"an initializer beyond the graph", field(7, []byte{5<<3 | 2, 100, 1}), false, false},
		{"cut short", field(7, tensor("a", raw("12")))[:10], false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Decode(c.file, nil)
			if (err == nil) != c.decodes {
				t.Fatalf("decodes: %v", err)
			}
			if lifts := requireLiftedAlike(t, c.file, m, err); lifts != c.lifts {
				t.Errorf("lifted: %v, want %v", lifts, c.lifts)
			}
		})
	}
}

// TestTooManyNodes: such a file is refused before memory is taken for the nodes.
func TestTooManyNodes(t *testing.T) {
	node := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil)
	graph := bytes.Repeat(node, MaxNodes+1)
	file := protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), graph)
	for name, read := range map[string]func() (*Model, error){
		"read":   func() (*Model, error) { return read(bytes.NewReader(file), int64(len(file)), nil) },
		"decode": func() (*Model, error) { return Decode(file, nil) },
	} {
		if _, err := read(); err == nil || !strings.Contains(err.Error(), "more than 262144 nodes") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWrongUTF8: names that are no text come back as they are, and a message
// about them is text all the same.
func TestWrongUTF8(t *testing.T) {
	m := &Model{IRVersion: 8, Opsets: []OpsetID{{Version: 13}}, Graph: &Graph{
		Name:  "g\xff",
		Nodes: []*Node{{Name: "\xc3\x28", OpType: "Relu", Inputs: []string{"x\x80"}, Outputs: []string{"y\xf0\x28\x8c\x28"}}},
	}}
	b, err := m.Encode()
	if err != nil {
		requireTyped(t, err) // refused is as good
		return
	}
	again, err := Decode(b, nil)
	if err != nil {
		requireTyped(t, err)
		return
	}
	if !bytes.Equal(mustEncode(t, again), b) {
		t.Error("the file changed")
	}
	if text := Text(again); !utf8.ValidString(text) {
		t.Errorf("the dump is not UTF-8: %q", text)
	}
	if err := Check(again); err == nil || !utf8.ValidString(err.Error()) {
		t.Errorf("the message is %q, want one in UTF-8", err)
	}
}
