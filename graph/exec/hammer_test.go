package exec_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHammer(t *testing.T) {
	var files [][]byte
	var names []string
	for _, d := range strings.Split(os.Getenv("HAMMER"), ":") {
		list, _ := filepath.Glob(d)
		for _, f := range list {
			if b, err := os.ReadFile(f); err == nil && len(b) < 72000 {
				files = append(files, b)
				names = append(names, f)
			}
		}
	}
	seconds, _ := strconv.Atoi(os.Getenv("HAMMER_SECONDS"))
	seed, _ := strconv.Atoi(os.Getenv("HAMMER_SEED"))
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	seen := map[string]int{}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	current, _ := os.Create(os.Getenv("HAMMER_CURRENT"))
	cases := 0
	var started time.Time
	var what string
	go func() {
		for {
			time.Sleep(time.Second)
			if s := started; !s.IsZero() && time.Since(s) > 20*time.Second {
				buf := make([]byte, 1<<16)
				fmt.Printf("HANG %s\n%s\n", what, buf[:runtime.Stack(buf, true)])
				os.Exit(3)
			}
		}
	}()
	for time.Now().Before(end) {
		i := r.IntN(len(files))
		edits := make([]byte, 3*(1+r.IntN(10)))
		for j := range edits {
			edits[j] = byte(r.IntN(256))
		}
		what = fmt.Sprintf("%s %x", names[i], edits)
		current.WriteAt([]byte(what+"\n                            "), 0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		started = time.Now()
		func() {
			defer func() {
				if e := recover(); e != nil {
					stack := string(debug.Stack())
					lines := strings.Split(stack, "\n")
					at := ""
					for k, l := range lines {
						if strings.Contains(l, "panic(") {
							lines = lines[k+2:]
							break
						}
					}
					n := 0
					for _, l := range lines {
						if strings.HasPrefix(l, "\t") && strings.Contains(l, "/unprune/") || strings.Contains(l, "/wt/") {
							l = strings.TrimSpace(l)
							if k := strings.Index(l, " +"); k > 0 {
								l = l[:k]
							}
							if strings.Contains(l, "onnx/tensor.go") && n == 0 {
								continue
							}
							at += strings.TrimPrefix(l, "/work/wt/import/") + " < "
							if n++; n == 3 {
								break
							}
						}
					}
					key := at
					if k := strings.Index(at, " < "); k > 0 {
						key = at[:k]
					}
					if seen[key]++; seen[key] == 1 {
						fmt.Printf("PANIC %v\n  at %s\n  %s\n", e, at, what)
					}
				}
			}()
			wholeWay(t, files[i], edits)
		}()
		took := time.Since(started)
		runtime.ReadMemStats(&after)
		if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 300 {
			fmt.Printf("MEMORY %d MB %s\n", grown, what)
		}
		if took > 4*time.Second {
			fmt.Printf("SLOW %v %s\n", took, what)
		}
		cases++
	}
	fmt.Println("cases", cases, "panics", len(seen))
	for k, n := range seen {
		fmt.Println(n, k)
	}
}
