package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
)

// maskDiff is what moved in one layer.
type maskDiff struct {
	Name    string  `json:"name"`
	Total   int     `json:"total"`
	KeptA   int     `json:"kept_a"`
	KeptB   int     `json:"kept_b"`
	Added   int     `json:"added"`   // kept in B only
	Dropped int     `json:"dropped"` // kept in A only
	IoU     float64 `json:"iou"`
	Chance  float64 `json:"chance_iou"`
}

// maskDiffs is what "unprune mask diff" prints.
type maskDiffs struct {
	Layers []maskDiff `json:"layers"`
	Total  maskDiff   `json:"total"`
}

func maskCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "mask", GroupID: groupLook, Short: "Work with masks: compare and combine them",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("mask: there is no command %q; there are diff, union, intersection, difference, embed", args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.maskEmbedCommand())
	for _, c := range maskCombinations {
		cmd.AddCommand(a.maskCombineCommand(c))
	}
	page := ""
	cmd.AddCommand(a.command(spec{
		use: "diff A B", min: 2, max: 2,
		short: "Show what moved between two masks, given as models or mask files",
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&page, "html", "", "`file` for a page with a heat map per layer")
		},
		run: func(_ context.Context, args []string) error {
			ma, err := a.masksOf(args[0])
			if err != nil {
				return err
			}
			mb, err := a.masksOf(args[1])
			if err != nil {
				return err
			}
			d, err := diffMasks(ma, mb)
			if err != nil {
				return fmt.Errorf("%s and %s: %w", args[0], args[1], err)
			}
			if page != "" {
				if err := a.writeMaskPage(page, args, ma, mb); err != nil {
					return err
				}
			}
			return a.print(d, d.text)
		},
	}))
	return cmd
}

func diffMasks(a, b *sparsity.Masks) (*maskDiffs, error) {
	layers, err := evalmetrics.Overlaps(a, b)
	if err != nil {
		return nil, err
	}
	d := &maskDiffs{Total: newMaskDiff("total", evalmetrics.TotalOverlap(layers))}
	for _, l := range layers {
		d.Layers = append(d.Layers, newMaskDiff(l.Name, l.Overlap))
	}
	return d, nil
}

func newMaskDiff(name string, o evalmetrics.Overlap) maskDiff {
	return maskDiff{
		Name: name, Total: o.N, KeptA: o.A, KeptB: o.B,
		Added: o.B - o.Intersection, Dropped: o.A - o.Intersection, IoU: o.IoU(), Chance: o.ChanceIoU(),
	}
}

func (d *maskDiffs) text(w io.Writer) {
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "layer\tweights\tkept in A\tkept in B\tadded\tdropped\tIoU\tby chance")
		for _, l := range append(d.Layers, d.Total) {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.3f\t%.3f\n", l.Name, l.Total, l.KeptA, l.KeptB, l.Added, l.Dropped, l.IoU, l.Chance)
		}
	})
}

// masksOf reads a mask file, or the masks that a model holds, or reads masks
// off its zeros.
func (a *app) masksOf(path string) (*sparsity.Masks, error) {
	if strings.HasSuffix(path, ".npz") {
		return readMaskFile(path)
	}
	m, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if masks, err := sparsity.StoredMasks(m); masks != nil || err != nil {
		return masks, err
	}
	im, err := a.importModel(path, m)
	if err != nil {
		return nil, err
	}
	return sparsity.MasksOf(layersOf(im))
}

func readMaskFile(path string) (*sparsity.Masks, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("mask %s: there is no such file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("mask: %w", err)
	}
	masks, _, err := sparsity.ReadMasks(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("mask %s: %w", path, err)
	}
	return masks, nil
}

// writeMaskFile writes masks together with the checksum of the model file that
// they belong to ("" if it was not written).
func writeMaskFile(path string, masks *sparsity.Masks, model string) error {
	sum := ""
	if model != "" {
		b, err := os.ReadFile(model)
		if err != nil {
			return fmt.Errorf("mask: %w", err)
		}
		h := sha256.Sum256(b)
		sum = "sha256:" + hex.EncodeToString(h[:])
	}
	return writeFile(path, func(w io.Writer) error { return sparsity.WriteMasks(w, masks, sum) })
}
