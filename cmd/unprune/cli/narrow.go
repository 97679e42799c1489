package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune/data"
)

// readWide reads the model of a request. If units were taken out of it, so that
// it is narrower than the initial or dense network, it is put back into that
// width, with zeros in what was taken out: that is what un-pruning can grow
// again. narrow says that this happened.
func (a *app) readWide(path string, o *requestOptions) (im *pass.Model, narrow bool, err error) {
	m, err := readFile(path)
	if err != nil {
		return nil, false, err
	}
	if im, err = a.importModel(path, m); err != nil {
		return nil, false, err
	}
	if err := checkTrainable(path, im); err != nil {
		return nil, false, err
	}
	flag, other := "dense", o.dense
	if other == "" {
		flag, other = "initial", o.initial
	}
	if other == "" {
		return im, false, nil
	}
	original, err := readFile(other)
	if err != nil {
		return nil, false, fmt.Errorf("--%s: %w", flag, err)
	}
	wide, err := a.imports.Import(original)
	if err != nil {
		return nil, false, fmt.Errorf("--%s: %w", flag, err)
	}
	if _, err := im.Match(wide); err == nil {
		return im, false, nil
	}
	found, err := putBack(m, im, wide)
	if err != nil {
		return nil, false, fmt.Errorf("model %s is narrower than --%s %s, and cannot be put back into that width: %s", path, flag, other, advised(err, flag))
	}
	if !found {
		return im, false, nil // what does not fit is explained where the weights are read
	}
	if err := a.sameOutputs(im, wide); err != nil {
		return nil, false, fmt.Errorf("model %s: put back into the width of %s, it does not compute the same: %w", path, other, err)
	}
	a.log.Info(fmt.Sprintf("%s is narrower than %s: put back into that width, with zeros in what was taken out", path, other))
	return wide, true, nil
}

// putBack gives the parameters of wide the values of im, zeros in what im lost.
// found is false if im is not a narrow version of wide.
func putBack(m *onnx.Model, im, wide *pass.Model) (found bool, err error) {
	c, err := pass.CompactionOf(m)
	if err != nil {
		return false, err
	}
	if c != nil {
		return true, c.Expand(im, wide)
	}
	twins, err := im.MatchWide(wide)
	if err != nil {
		return false, nil
	}
	before, after := map[string]*onnx.Tensor{}, map[string]*onnx.Tensor{}
	for i, p := range twins {
		if wide.Param(p.Name()) == nil {
			return false, fmt.Errorf("the original has no counterpart of %q", im.Params[i].Name())
		}
		before[p.Name()], after[p.Name()] = p.Tensor(), im.Params[i].Tensor()
	}
	groups, err := groupsOf(wide, layersOf(wide))
	if err != nil {
		return false, err
	}
	kept, err := sparsity.FindKept(groups, before, after)
	if err != nil {
		return false, err
	}
	c = &pass.Compaction{Kept: kept}
	return true, c.ExpandTo(wide, after)
}

// advised says what to do about units that cannot be told apart.
func advised(err error, flag string) string {
	var uncertain *sparsity.UncertainError
	if !errors.As(err, &uncertain) {
		return sentence(err)
	}
	advice := "give --dense, the network as it was just before units were removed"
	if flag == "dense" {
		advice = "--dense must be the network as it was just before units were removed; or keep that network and set the units to zero in it instead of removing them"
	}
	return sentence(err) + "; " + advice
}

// sameOutputs compares what two states of a network compute.
func (a *app) sameOutputs(narrow, wide *pass.Model) error {
	feeds, err := randomFeeds(narrow.Graph.Inputs, max(1, narrow.Graph.Inputs[0].Shape[0]), data.Stream(0, "widen", "inputs"))
	if err != nil {
		return err
	}
	want, err := a.runNative(context.Background(), narrow, feeds)
	if err != nil {
		return err
	}
	renamed := tensors{}
	for i, in := range wide.Graph.Inputs {
		renamed[in.Name] = feeds[narrow.Graph.Inputs[i].Name]
	}
	have, err := a.runNative(context.Background(), wide, renamed)
	if err != nil {
		return err
	}
	for i, out := range wide.Graph.Outputs {
		have[narrow.Graph.Outputs[i].Name] = have[out.Name]
	}
	if v := newVerification(have, want, compactTolerance); !v.OK {
		return errors.New(v.worst())
	}
	return nil
}

// compactPath is where the compacted version of a result goes: where the flag
// says, or beside the output of a model that came compacted; "" if nowhere.
func (o *requestOptions) compactPath(narrow bool) string {
	if o.compactOut == "" && narrow {
		return strings.TrimSuffix(o.output, ".onnx") + ".compact.onnx"
	}
	return o.compactOut
}

// writeCompact writes the model that lies at path without anything that pruning
// has emptied: of the width that a narrow model had.
func (a *app) writeCompact(ctx context.Context, path, to string) error {
	m, err := readFile(path)
	if err != nil {
		return err
	}
	small, c, err := a.compactModel(ctx, path, m, 1)
	if err != nil {
		return err
	}
	if err := onnx.Write(to, small, onnx.WriteOptions{}); err != nil {
		return err
	}
	a.log.Info(fmt.Sprintf("wrote %s: %s", to, c.summary()))
	return nil
}
