package cli

import (
	"errors"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune/data"
)

// TestShard: which part of a study the flags and a scheduler's environment
// mean.
func TestShard(t *testing.T) {
	slurm := map[string]string{"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}
	for _, c := range []struct {
		name          string
		flags         studyOptions
		env           map[string]string
		shard, shards int
		wrong         bool
	}{
		{"alone", studyOptions{}, nil, 0, 0, false},
		{"flag", studyOptions{shard: "2/8"}, nil, 2, 8, false},
		{"flag before environment", studyOptions{shard: "0/2"}, slurm, 0, 2, false},
		{"slurm array", studyOptions{}, slurm, 2, 4, false},
		{"slurm array in steps", studyOptions{}, map[string]string{"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "4", "SLURM_ARRAY_TASK_COUNT": "4"}, 2, 4, false},
		{"indexed job", studyOptions{shards: 3}, map[string]string{"JOB_COMPLETION_INDEX": "1"}, 1, 3, false},
		{"indexed job of unknown size", studyOptions{}, map[string]string{"JOB_COMPLETION_INDEX": "1"}, 0, 0, true},
		{"outside", studyOptions{shards: 2}, slurm, 0, 0, true},
		{"shard beyond", studyOptions{shard: "8/8"}, nil, 0, 0, true},
		{"no number", studyOptions{shard: "a/b"}, nil, 0, 0, true},
	} {
		shard, shards, err := c.flags.part(func(name string) string { return c.env[name] })
		var usage usageError
		if errors.As(err, &usage) != c.wrong || shard != c.shard || shards != c.shards {
			t.Errorf("%s: %d/%d, %v", c.name, shard, shards, err)
		}
	}
}

func TestFirstSamples(t *testing.T) {
	d := &data.Dataset{X: onnx.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 3, 2), Y: []int64{7, 8, 9}, Classes: 10}
	if got := first(d, 2); got.Len() != 2 || got.Y[1] != 8 || onnx.Of[float32](got.X)[3] != 4 {
		t.Errorf("the first two samples are %v with labels %v", onnx.Of[float32](got.X), got.Y)
	}
	for _, n := range []int{0, 3, 4} {
		if first(d, n) != d {
			t.Errorf("the first %d of 3 samples are not all of them", n)
		}
	}
}
