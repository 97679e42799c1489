package study

import (
	"context"

	"github.com/unprune/unprune/evalmetrics"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
)

// Diagnostics tell signal from noise.
type Diagnostics struct {
	// Swaps of the two rules that change the mask: a swap helps only if more
	// of the added weights are in gold than of the dropped ones.
	Paper    Swap `json:"paper"`
	Unpruned Swap `json:"unpruned"`

	// Control is the IoU to gold of the same rescoring with the short run on
	// all of the data: what denoising alone brings. Forgetting is what the
	// un-pruned mask gains beyond it.
	Control    float64 `json:"control_iou"`
	Forgetting float64 `json:"forgetting"` // IoU of un-pruned minus Control

	// Contrast is IoU(un-pruned, gold) - IoU(un-pruned, an independent run on
	// all of the data): positive when the mask looks as if it had never seen
	// the forgotten samples.
	Contrast         float64 `json:"contrast"`
	ContrastOriginal float64 `json:"contrast_original"`

	// Trace is how visible the deleted data is in the mask at all: the IoU of
	// the original with an independent run on all of the data, minus the mean
	// IoU of those two with the two golds. Noise is the spread of the latter.
	// The IoU of the golds with each other is no yardstick: they share the
	// smaller set, and it is higher even where nothing can be seen.
	Trace float64 `json:"trace"`
	Noise float64 `json:"noise"`

	// BelowSeedNoise: the deletion leaves no trace in the mask that exceeds
	// what another data order does.
	BelowSeedNoise bool `json:"below_seed_noise"`

	// ClassRows is, for whole deleted classes, the share of kept weights in
	// their rows of the output layer relative to the whole layer, per row.
	ClassRows map[string]float64 `json:"class_rows,omitempty"`
}

// Swap says what a change of the mask exchanged.
type Swap struct {
	Share         float64 `json:"share"` // of the kept weights that were exchanged
	AddedInGold   float64 `json:"added_in_gold"`
	DroppedInGold float64 `json:"dropped_in_gold"`
}

// minTrace is the smallest trace that counts. Pairs of runs that differ in
// their data order alone spread by about as much (measured on LeNet-300-100
// with four runs each).
const minTrace = 0.03

func (c *Comparison) diagnose(ctx context.Context, t *Table) (*Diagnostics, error) {
	p, d := c.Problem, &Diagnostics{}
	var err error
	if d.Paper, err = swap(t, Paper); err != nil {
		return d, err
	}
	if d.Unpruned, err = swap(t, Unpruned); err != nil {
		return d, err
	}
	all := everyRow(p.Train.Len())
	control := c.blend()
	control.Rows, control.MaskOnly = all, true
	rescored, err := p.Rescore(ctx, control)
	if err != nil {
		return d, err
	}
	independent, err := p.Retrain(ctx, all, "independent run")
	if err != nil {
		return d, err
	}
	masks := func(name string) *sparsity.Masks { return t.Row(name).Result.Masks }
	var m meter
	d.Control = m.iou(rescored.Masks, masks(Gold))
	d.Forgetting = t.Row(Unpruned).IoU - d.Control
	d.Contrast = t.Row(Unpruned).IoU - m.iou(masks(Unpruned), independent.Masks)
	d.ContrastOriginal = t.Row(Original).IoU - m.iou(masks(Original), independent.Masks)
	cross := evalmetrics.Summarize([]float64{
		m.iou(masks(Original), masks(Gold)), m.iou(masks(Original), masks(Gold2)),
		m.iou(independent.Masks, masks(Gold)), m.iou(independent.Masks, masks(Gold2)),
	})
	d.Trace, d.Noise = m.iou(masks(Original), independent.Masks)-cross.Mean, cross.SD
	d.BelowSeedNoise = d.Trace < max(minTrace, 2*d.Noise)
	d.ClassRows = c.classRows(t)
	return d, m.err
}

// meter computes overlaps and keeps the first error.
type meter struct{ err error }

func (m *meter) iou(a, b *sparsity.Masks) float64 {
	layers, err := evalmetrics.Overlaps(a, b)
	if err != nil {
		m.err = err
		return 0
	}
	return evalmetrics.TotalOverlap(layers).IoU()
}

// swap compares a row's mask with the original's and gold's.
func swap(t *Table, name string) (Swap, error) {
	before := t.Row(Original).Result.Masks
	s, err := evalmetrics.NewSwap(before, t.Row(name).Result.Masks, t.Row(Gold).Result.Masks)
	if err != nil {
		return Swap{}, err
	}
	out := Swap{Share: float64(s.Dropped) / float64(max(1, before.Count()))}
	if s.Added > 0 {
		out.AddedInGold = s.AddedInGold
	}
	if s.Dropped > 0 {
		out.DroppedInGold = s.DroppedInGold
	}
	return out, nil
}

// classRows measures what the masks keep of the output rows of deleted
// classes.
func (c *Comparison) classRows(t *Table) map[string]float64 {
	layers := c.Problem.Engine.Layers()
	last := layers[len(layers)-1]
	deleted := deletedClasses(c.Problem)
	if len(deleted) == 0 || last.Units(sparsity.Filter) != c.classes() {
		return nil
	}
	out := map[string]float64{}
	for _, row := range t.Rows {
		m := row.Result.Masks.Get(last.Name)
		if m == nil || m.Count() == 0 {
			continue
		}
		kept, total := 0, 0
		for _, class := range deleted {
			for i := range last.Indices(sparsity.Filter, class) {
				total++
				if m.Get(i) {
					kept++
				}
			}
		}
		out[row.Name] = float64(kept) / float64(total) / m.Density()
	}
	return out
}

// deletedClasses lists the classes of which no sample is retained.
func deletedClasses(p *unprune.Problem) []int {
	count := make([]int, p.Train.Classes)
	for _, r := range p.Retain {
		count[p.Train.Y[r]]++
	}
	seen := make([]bool, p.Train.Classes)
	for _, r := range p.Forget {
		seen[p.Train.Y[r]] = true
	}
	var out []int
	for class, n := range count {
		if n == 0 && seen[class] {
			out = append(out, class)
		}
	}
	return out
}

// everyRow lists the rows of a set of n samples.
func everyRow(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}
