package data

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Stream returns the random numbers of one purpose of one algorithm. They
// depend on nothing else, so that adding a draw in one place shifts no other:
// ChaCha8 keyed by SHA-256 of the seed and the two names.
func Stream(seed uint64, algorithm, purpose string) *rand.Rand {
	key := binary.LittleEndian.AppendUint64(nil, seed)
	for _, name := range []string{algorithm, purpose} {
		key = binary.LittleEndian.AppendUint64(key, uint64(len(name)))
		key = append(key, name...)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(key)))
}

// Order is the order in which an epoch, counted from 0, visits n samples. Each
// epoch has a stream of its own, so that a run can resume at any of them. Cut
// it into batches with slices.Chunk.
func Order(seed uint64, epoch, n int) []int {
	return Stream(seed, "order", fmt.Sprintf("epoch %d", epoch)).Perm(n)
}
