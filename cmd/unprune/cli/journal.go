package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// journalOptions are the flags of commands that can go on after a kill.
type journalOptions struct {
	resume bool
	every  time.Duration
}

func (o *journalOptions) add(f *pflag.FlagSet) {
	f.BoolVar(&o.resume, "resume", false, "go on where an interrupted run of the same command stopped")
	f.DurationVar(&o.every, "checkpoint-every", 15*time.Second, "least `time` between two checkpoints, which are written after epochs")
}

// A journal is a folder beside the output, with one file per training run and
// the run file of the command. It is an unprune.Journal.
type journal struct {
	folder  string
	runFile []byte
	every   time.Duration
	last    time.Time // of the last checkpoint, or the start
}

// epochsName is the array of a checkpoint that holds the number of epochs done.
const epochsName = "epochs"

// openJournal prepares checkpoints for the command being run. With resume, the
// folder that an interrupted run left must be of the same command.
func (a *app) openJournal(output string, o journalOptions) (*journal, error) {
	text, err := a.runFileText(filepath.Base(runFileBeside(output)))
	if err != nil {
		return nil, err
	}
	j := &journal{folder: strings.TrimSuffix(output, filepath.Ext(output)) + ".resume", runFile: text, every: o.every, last: time.Now()}
	have, err := os.ReadFile(filepath.Join(j.folder, "run.yaml"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if o.resume {
			a.log.Info("there is no checkpoint to resume from; starting from the beginning")
		}
		return j, nil
	case err != nil:
		return nil, fmt.Errorf("checkpoint: %w", err)
	case !o.resume:
		a.log.Info(fmt.Sprintf("dropping the checkpoints of an interrupted run in %s (--resume goes on with them)", j.folder))
		return j, os.RemoveAll(j.folder)
	case !bytes.Equal(have, text):
		return nil, fmt.Errorf("the checkpoints in %s are of another run; give the flags of its run.yaml, or leave --resume out to start over", j.folder)
	}
	a.log.Info("going on from the checkpoints in " + j.folder)
	return j, nil
}

func (j *journal) path(run string) string {
	sum := sha256.Sum256([]byte(run))
	return filepath.Join(j.folder, hex.EncodeToString(sum[:8])+".npz")
}

// Load reads the last checkpoint of a run.
func (j *journal) Load(run string) (int, map[string]*onnx.Tensor, error) {
	state, err := npz.ReadFile(j.path(run))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("checkpoint: %w; leave --resume out to start over", err)
	}
	t := state[epochsName]
	if t == nil || t.DType != onnx.Int64 || t.Len() != 1 {
		return 0, nil, fmt.Errorf("checkpoint %s is damaged; leave --resume out to start over", j.path(run))
	}
	return int(onnx.Of[int64](t)[0]), state, nil
}

// Save writes a checkpoint if the last one is old enough. The state of a run
// that is complete is written like any other: without it, all of the run would
// be repeated.
func (j *journal) Save(run string, epochs, _ int, state func() map[string]*onnx.Tensor) error {
	if time.Since(j.last) < j.every {
		return nil
	}
	if err := j.begin(); err != nil {
		return err
	}
	tensors := state()
	tensors[epochsName] = onnx.FromSlice([]int64{int64(epochs)}, 1)
	var list []*onnx.Tensor
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		t := *tensors[name]
		t.Name = name
		list = append(list, &t)
	}
	err := writeFile(j.path(run), func(w io.Writer) error { return npz.Write(w, list...) })
	j.last = time.Now()
	return err
}

// begin makes the folder.
func (j *journal) begin() error {
	if err := os.MkdirAll(j.folder, 0o755); err != nil {
		return unwritable(j.folder, err)
	}
	path := filepath.Join(j.folder, "run.yaml")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return writeFile(path, func(w io.Writer) error {
		_, err := w.Write(j.runFile)
		return err
	})
}

// done drops the checkpoints of a run that has its output.
func (j *journal) done() error { return os.RemoveAll(j.folder) }
