package unprune_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

func testKey(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func certificate(t *testing.T) unprune.Certificate {
	t.Helper()
	in, err := unprune.NewArtifact("in.onnx", strings.NewReader("input"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := unprune.NewArtifact("out.onnx", strings.NewReader("output"))
	if err != nil {
		t.Fatal(err)
	}
	return unprune.Certificate{
		Input: in, Output: out, Initial: &in, Forget: unprune.ForgetSet{Root: "00", Count: 3},
		Method: map[string]string{"rescore": "blend"}, Metrics: map[string]float64{"ua": 0.5}, Seed: 7,
	}
}

func TestCertificate(t *testing.T) {
	want := certificate(t)
	envelope, err := want.Sign(t.Context(), testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := want.Sign(t.Context(), testKey(1))
	if err != nil || !bytes.Equal(again, envelope) {
		t.Error("signing twice gives different bytes")
	}
	public := testKey(1).Public().(ed25519.PublicKey)
	got, err := unprune.VerifyCertificate(t.Context(), envelope, public)
	if err != nil {
		t.Fatal(err)
	}
	if got.Input != want.Input || got.Output != want.Output || got.Forget != want.Forget || got.Seed != 7 || !maps.Equal(got.Metrics, want.Metrics) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := unprune.VerifyCertificate(t.Context(), envelope, testKey(2).Public().(ed25519.PublicKey)); err == nil {
		t.Error("another key: no error")
	}
	for name, broken := range map[string][]byte{
		"no JSON":         []byte("x"),
		"payload changed": changePayload(t, envelope, `"seed":7`, `"seed":8`),
		"type changed":    bytes.Replace(envelope, []byte("in-toto+json"), []byte("other+json"), 1),
		"no signature":    []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}`),
	} {
		if _, err := unprune.VerifyCertificate(t.Context(), broken, public); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// changePayload edits the statement inside an envelope.
func changePayload(t *testing.T, envelope []byte, from, to string) []byte {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(e["payload"].(string))
	if err != nil || !bytes.Contains(payload, []byte(from)) {
		t.Fatalf("payload %s (%v)", payload, err)
	}
	e["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte(from), []byte(to), 1))
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestChain(t *testing.T) {
	first := certificate(t)
	envelope, err := first.Sign(t.Context(), testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	second := certificate(t)
	second.Input, second.Predecessor = first.Output, unprune.Digest(envelope)
	if err := second.Follows(envelope, &first); err != nil {
		t.Error(err)
	}
	gap := second
	gap.Input.SHA256 = "ff"
	if gap.Follows(envelope, &first) == nil {
		t.Error("another model: no error")
	}
	if second.Follows(append(envelope, ' '), &first) == nil {
		t.Error("another envelope: no error")
	}
}

func TestSampleTree(t *testing.T) {
	d := &data.Dataset{X: onnx.NewTensor(onnx.Float32, 40, 3), Y: make([]int64, 40), Classes: 2}
	for i, x := range onnx.Of[float32](d.X) {
		onnx.Of[float32](d.X)[i] = x + float32(i/6) // neighbours are equal samples
	}
	for n := 1; n <= 20; n++ {
		rows := data.Complement(40, nil)[:n]
		tree, err := unprune.NewSampleTree(d, rows, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		set := tree.Commitment()
		for i, row := range rows {
			m, err := tree.Prove(i)
			if err != nil {
				t.Fatal(err)
			}
			if err := set.Verify(m, unprune.SampleDigest(d, row)); err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
			if set.Verify(m, unprune.SampleDigest(d, 39)) == nil {
				t.Errorf("%d of %d: proves another sample", i, n)
			}
			moved := m
			moved.Position++
			if n > 1 && set.Verify(moved, unprune.SampleDigest(d, row)) == nil {
				t.Errorf("%d of %d: proves another position", i, n)
			}
			longer := m
			longer.Path = append(slices.Clone(m.Path), m.Salt)
			if set.Verify(longer, unprune.SampleDigest(d, row)) == nil {
				t.Errorf("%d of %d: a longer path passes", i, n)
			}
		}
		if n > 1 {
			a, _ := tree.Prove(0)
			b, _ := tree.Prove(1)
			if a.Salt == b.Salt {
				t.Error("equal samples have equal salts")
			}
		}
		other, err := unprune.NewSampleTree(d, rows, []byte("other"))
		if err != nil || other.Commitment().Root == set.Root {
			t.Errorf("the root does not depend on the secret (%v)", err)
		}
	}
	if _, err := unprune.NewSampleTree(d, nil, nil); err == nil {
		t.Error("no sample: no error")
	}
}
