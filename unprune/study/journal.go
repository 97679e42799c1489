package study

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Record is one answer to one setting and its figures. All of them are a
// function of the study's file, so that no time of day or duration is among
// them.
type Record struct {
	Key string `json:"key"` // of all that the figures depend on
	Setting
	Label  string `json:"label"`
	Method Method `json:"method"`
	Failed string `json:"failed,omitempty"` // why there are no figures: the run diverged
	Figures
}

// A journal is a file of records, one JSON object a line, that grows only.
type journal struct {
	file *os.File
	have map[string]bool
}

// openJournal opens a journal and reads what it has. A last line that is not
// complete, left by a process that was killed, is cut off.
func openJournal(path string) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, have: map[string]bool{}}
	whole, err := eachRecord(f, path, func(r Record) { j.have[r.Key] = true })
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// append writes a record for good: it is on disk when append returns.
func (j *journal) append(r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("study: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	j.have[r.Key] = true
	return j.file.Sync()
}

func (j *journal) close() error { return j.file.Close() }

// eachRecord calls visit for every complete line and returns their length.
func eachRecord(r io.Reader, path string, visit func(Record)) (whole int64, err error) {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		var record Record
		if err := json.Unmarshal(bytes.TrimSpace(line), &record); err != nil {
			return whole, fmt.Errorf("study: %s, line %d is not a record of a study: %w", path, n, err)
		}
		visit(record)
		whole += int64(len(line))
	}
}

// Load reads the records of all shards in a study's folder.
func Load(dir string) ([]Record, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "results*.jsonl"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("study: %s holds no results", dir)
	}
	var out []Record
	seen := map[string]bool{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		_, err = eachRecord(f, path, func(r Record) {
			if !seen[r.Key] {
				out = append(out, r)
			}
			seen[r.Key] = true
		})
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// writeWhole writes a file that either is there in full or not at all.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// exists reports whether there is a file.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
