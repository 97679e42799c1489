package main

import (
	"errors"
	"testing"
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
