package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/unprune/data"
)

// embeddedData is the name of the embedded images.
const embeddedData = "fashion-mnist"

// dataOptions say which samples a command works on.
type dataOptions struct {
	train, test, forget, normalize string

	without []string // of train, not used at all: what was deleted before
}

func (o *dataOptions) addTrain(f *pflag.FlagSet) {
	f.StringVar(&o.train, "train", "", "training `data`: file.npz with arrays x and y (or file.npz:images,labels), an IDX or CIFAR folder, or a folder of class folders")
}

func (o *dataOptions) addTest(f *pflag.FlagSet) {
	f.StringVar(&o.test, "test", "", "test `data`, in the same formats")
}

func (o *dataOptions) addForget(f *pflag.FlagSet) {
	f.StringVar(&o.forget, "forget", "", "`what` to forget: class:3, class:0+1, class:3@0.5 (half of it), random:0.1, or a file of sample indices")
	f.StringArrayVar(&o.without, "without", nil, "`what` of --train is not used at all, as in --forget: samples that were deleted before; may be repeated")
}

func (o *dataOptions) addNormalize(f *pflag.FlagSet) {
	f.StringVar(&o.normalize, "normalize", "", "`means:deviations` that the model was trained with, per channel, for pixels from 0 to 1, as in 0.286:0.353 or 0.49,0.48,0.45:0.25,0.24,0.26")
}

// normalization parses --normalize.
func (o *dataOptions) normalization() (n data.Normalization, err error) {
	if o.normalize == "" {
		return n, nil
	}
	means, deviations, ok := strings.Cut(o.normalize, ":")
	if !ok {
		return n, usagef("--normalize %q: want means:deviations, as in 0.286:0.353", o.normalize)
	}
	if n.Mean, err = numbers(means); err != nil {
		return n, usagef("--normalize %q: %w", o.normalize, err)
	}
	if n.SD, err = numbers(deviations); err != nil {
		return n, usagef("--normalize %q: %w", o.normalize, err)
	}
	return n, nil
}

func numbers(list string) ([]float64, error) {
	var out []float64
	for field := range strings.SplitSeq(list, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", field)
		}
		out = append(out, v)
	}
	return out, nil
}

// load reads samples in the shape and with the classes of a model. An empty
// path gives nil.
func (o *dataOptions) load(path string, role data.Role, sample []int, classes int) (*data.Dataset, error) {
	if path == "" {
		return nil, nil
	}
	flag := "--train"
	if role == data.Test {
		flag = "--test"
	}
	d, err := o.read(path, role)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s %s: there is no such file or folder", flag, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if d, err = fit(d, sample); err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, path, err)
	}
	n, err := o.normalization()
	if err != nil {
		return nil, err
	}
	if o.normalize == "" && path == embeddedData {
		n = embeddedNormalization()
	}
	if err := n.Apply(d); err != nil {
		return nil, fmt.Errorf("--normalize: %w", err)
	}
	if err := d.SetClasses(classes); err != nil {
		return nil, fmt.Errorf("%s %s: %w, which are those of the model", flag, path, err)
	}
	return d, nil
}

func (o *dataOptions) read(path string, role data.Role) (*data.Dataset, error) {
	if path == embeddedData {
		return data.LoadFS(models.FashionMNIST(), role)
	}
	return data.Load(path, role)
}

func embeddedNormalization() data.Normalization {
	r := models.LeNet300().Recipe
	return data.Normalization{Mean: []float64{r.Mean}, SD: []float64{r.Deviation}}
}

// fit gives samples the shape that a model takes, where that moves no value:
// axes of extent 1 come and go, and flat vectors fold and unfold.
func fit(d *data.Dataset, sample []int) (*data.Dataset, error) {
	have := d.SampleShape()
	if slices.Equal(have, sample) {
		return d, nil
	}
	long := func(shape []int) []int {
		return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
	}
	a, b := long(have), long(sample)
	if len(a) > 1 && len(b) > 1 && !slices.Equal(a, b) {
		hint := ""
		if len(have) == 3 && len(sample) == 3 && have[2] == sample[0] {
			hint = "; channels come first in ONNX: transpose to [channel height width]"
		}
		return nil, fmt.Errorf("samples have shape %v, the model takes %v%s", have, sample, hint)
	}
	return d.Reshape(sample...)
}

// selectForget chooses the rows to forget and the rows to keep.
func (o *dataOptions) selectForget(d *data.Dataset, seed uint64) (retain, forget []int, err error) {
	f, err := data.ParseForget(o.forget)
	if err != nil {
		return nil, nil, usageError{err}
	}
	if forget, err = f.Select(d, seed); err != nil {
		return nil, nil, err
	}
	gone, err := o.gone(d, seed)
	if err != nil {
		return nil, nil, err
	}
	forget = slices.DeleteFunc(forget, func(row int) bool { return gone[row] })
	if len(forget) == 0 {
		return nil, nil, usagef("--forget %s: all of it is left out by --without", o.forget)
	}
	retain = slices.DeleteFunc(data.Complement(d.Len(), forget), func(row int) bool { return gone[row] })
	return retain, forget, nil
}

// gone is the rows that --without leaves out.
func (o *dataOptions) gone(d *data.Dataset, seed uint64) (map[int]bool, error) {
	gone := map[int]bool{}
	for _, what := range o.without {
		f, err := data.ParseForget(what)
		if err != nil {
			return nil, usageError{fmt.Errorf("--without: %w", err)}
		}
		rows, err := f.Select(d, seed)
		if err != nil {
			return nil, fmt.Errorf("--without: %w", err)
		}
		for _, row := range rows {
			gone[row] = true
		}
	}
	return gone, nil
}

// leaveOut takes the rows that are gone out of a data set, and renumbers
// others.
func leaveOut(d *data.Dataset, gone map[int]bool, rows []int) (*data.Dataset, []int) {
	if len(gone) == 0 {
		return d, rows
	}
	var kept, renumbered []int
	for row := range d.Len() {
		if gone[row] {
			continue
		}
		if _, ok := slices.BinarySearch(rows, row); ok {
			renumbered = append(renumbered, len(kept))
		}
		kept = append(kept, row)
	}
	return d.Subset(kept), renumbered
}
