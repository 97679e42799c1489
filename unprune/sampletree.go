package unprune

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune/data"
)

// A SampleTree commits to a set of samples: its root can be published, and that
// one sample is in the set can be proven later without showing any other. It
// is a Merkle tree (RFC 6962: leaves and nodes hashed with different prefixes,
// the left part the largest power of two below the size) over the samples'
// digests, each with a salt of its own, so that a sample cannot be guessed from
// what a proof of another one shows.
type SampleTree struct {
	salts  [][]byte
	leaves [][]byte
}

// NewSampleTree commits to rows of a data set. The salts derive from the secret,
// which whoever makes the proofs must keep.
func NewSampleTree(d *data.Dataset, rows []int, secret []byte) (*SampleTree, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("unprune: no sample to commit to")
	}
	digests := make([][]byte, len(rows))
	all := sha256.New()
	for i, row := range rows {
		digests[i] = SampleDigest(d, row)
		all.Write(digests[i])
	}
	set := all.Sum(nil)
	t := &SampleTree{}
	for i, digest := range digests {
		mac := hmac.New(sha256.New, secret)
		mac.Write(set)
		mac.Write(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		salt := mac.Sum(nil)
		t.salts = append(t.salts, salt)
		t.leaves = append(t.leaves, leafHash(salt, digest))
	}
	return t, nil
}

// SampleDigest is the SHA-256 of a sample's label and values (float32, little
// endian).
func SampleDigest(d *data.Dataset, row int) []byte {
	x := onnx.Of[float32](d.X)
	size := len(x) / d.Len()
	b := binary.LittleEndian.AppendUint64(nil, uint64(d.Y[row]))
	for _, v := range x[row*size : (row+1)*size] {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func leafHash(salt, digest []byte) []byte {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(salt)
	h.Write(digest)
	return h.Sum(nil)
}

func nodeHash(left, right []byte) []byte {
	h := sha256.New()
	h.Write([]byte{1})
	h.Write(left)
	h.Write(right)
	return h.Sum(nil)
}

// Commitment is what is published.
func (t *SampleTree) Commitment() ForgetSet {
	return ForgetSet{Root: hex.EncodeToString(root(t.leaves)), Count: len(t.leaves)}
}

func root(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := split(len(leaves))
	return nodeHash(root(leaves[:k]), root(leaves[k:]))
}

// split is the largest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// A Membership proves that a sample is in the set.
type Membership struct {
	Position int      `json:"position"` // in the set, from 0
	Salt     string   `json:"salt"`
	Path     []string `json:"path"` // the sibling hashes from leaf to root
}

// Prove returns the proof for the i-th row.
func (t *SampleTree) Prove(i int) (Membership, error) {
	if i < 0 || i >= len(t.leaves) {
		return Membership{}, fmt.Errorf("unprune: the set has samples 0 to %d, there is no %d", len(t.leaves)-1, i)
	}
	m := Membership{Position: i, Salt: hex.EncodeToString(t.salts[i])}
	leaves := t.leaves
	for len(leaves) > 1 {
		k := split(len(leaves))
		if i < k {
			m.Path = append(m.Path, hex.EncodeToString(root(leaves[k:])))
			leaves = leaves[:k]
		} else {
			m.Path = append(m.Path, hex.EncodeToString(root(leaves[:k])))
			leaves, i = leaves[k:], i-k
		}
	}
	slices.Reverse(m.Path)
	return m, nil
}

// Verify checks the proof that a sample of that digest is in the set.
func (s ForgetSet) Verify(m Membership, digest []byte) error {
	salt, err := hex.DecodeString(m.Salt)
	if err != nil {
		return fmt.Errorf("unprune: the proof's salt is not hexadecimal: %w", err)
	}
	if m.Position < 0 || m.Position >= s.Count {
		return fmt.Errorf("unprune: the proof is for position %d of %d", m.Position, s.Count)
	}
	var right []bool // at each level from the root: is the sample in the right part?
	for i, n := m.Position, s.Count; n > 1; {
		k := split(n)
		right = append(right, i >= k)
		if i < k {
			n = k
		} else {
			i, n = i-k, n-k
		}
	}
	if len(right) != len(m.Path) {
		return fmt.Errorf("unprune: the proof has %d hashes, want %d", len(m.Path), len(right))
	}
	slices.Reverse(right)
	h := leafHash(salt, digest)
	for level, text := range m.Path {
		sibling, err := hex.DecodeString(text)
		if err != nil {
			return fmt.Errorf("unprune: hash %d of the proof is not hexadecimal: %w", level, err)
		}
		if right[level] {
			h = nodeHash(sibling, h)
		} else {
			h = nodeHash(h, sibling)
		}
	}
	if hex.EncodeToString(h) != s.Root {
		return fmt.Errorf("unprune: the sample is not in the set that was deleted, or the proof is for another one")
	}
	return nil
}
