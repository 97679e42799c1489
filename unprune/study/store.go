package study

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
)

// A store keeps the networks that settings share, originals and golds, under
// keys of all they depend on, so that none is trained twice: not by another
// cell, nor after a restart, nor by another shard that sees the same folder.
type store struct{ dir string }

// get returns the network of that key, made if it is not there yet.
func (s store) get(ctx context.Context, key string, make func(context.Context) (*unprune.Result, error)) (*unprune.Result, error) {
	path := filepath.Join(s.dir, key+".npz")
	there, err := exists(path)
	if err != nil {
		return nil, err
	}
	if there {
		return readResult(path)
	}
	r, err := make(ctx)
	if err != nil {
		return nil, err
	}
	return r, writeWhole(path, func(w io.Writer) error { return writeResult(w, r) })
}

// contentKey is the SHA-256 of what a value depends on, shortened.
func contentKey(parts ...any) (string, error) {
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("study: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}

// The arrays of a stored network: parameters and running statistics, the same
// before the last cut, masks, counts of work.
const (
	paramPrefix = "param/"
	statPrefix  = "stat/"
	densePrefix = "dense/"
	maskPrefix  = "mask/"
	costName    = "cost"
)

func writeResult(w io.Writer, r *unprune.Result) error {
	var tensors []*onnx.Tensor
	add := func(name string, t *onnx.Tensor) {
		named := *t
		named.Name = name
		tensors = append(tensors, &named)
	}
	for _, name := range r.Weights.Names {
		if r.Weights.Stats[name] {
			add(statPrefix+name, r.Weights.Tensors[name])
		} else {
			add(paramPrefix+name, r.Weights.Tensors[name])
		}
	}
	if r.Dense != nil {
		for _, name := range r.Dense.Names {
			add(densePrefix+name, r.Dense.Tensors[name])
		}
	}
	if r.Masks != nil {
		for name, m := range r.Masks.All() {
			bits := make([]uint8, m.Len())
			for i := range m.Kept() {
				bits[i] = 1
			}
			add(maskPrefix+name, onnx.FromSlice(bits, m.Shape()...))
		}
	}
	add(costName, onnx.FromSlice([]int64{r.Cost.Forward, r.Cost.Backward, r.Cost.HVP}, 3))
	return npz.Write(w, tensors...)
}

func readResult(path string) (*unprune.Result, error) {
	a, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	r := &unprune.Result{Weights: unprune.NewWeights(), Masks: &sparsity.Masks{}}
	for _, array := range a.Names() {
		t, err := a.Read(array)
		if err != nil {
			return nil, fmt.Errorf("study: %s: %w", path, err)
		}
		kind, name, _ := strings.Cut(array, "/")
		switch kind + "/" {
		case paramPrefix, statPrefix:
			r.Weights.Add(name, t, kind+"/" == statPrefix)
		case densePrefix:
			if r.Dense == nil {
				r.Dense = unprune.NewWeights()
			}
			r.Dense.Add(name, t, r.Weights.Stats[name])
		case maskPrefix:
			bits, ok := t.Data.([]uint8)
			if !ok {
				return nil, fmt.Errorf("study: %s: %s holds %v, want uint8; delete the file", path, array, t.DType)
			}
			m := sparsity.NewMask(t.Shape...)
			for i, b := range bits {
				m.Set(i, b != 0)
			}
			r.Masks.Set(name, m)
		default:
			counts, ok := t.Data.([]int64)
			if !ok || len(counts) != 3 {
				return nil, fmt.Errorf("study: %s is not a network of a study; delete it", path)
			}
			r.Cost = evalmetrics.Cost{Forward: counts[0], Backward: counts[1], HVP: counts[2]}
		}
	}
	return r, nil
}
