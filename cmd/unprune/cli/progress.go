package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// bars shows how far long work is: bars on a terminal, plain lines elsewhere,
// nothing when quiet. A nil *bars shows nothing.
type bars struct {
	out   io.Writer
	quiet bool

	mu       sync.Mutex
	progress *mpb.Progress // nil when out is no terminal
	stage    string
	bar      *mpb.Bar
	lastLine time.Time
}

// lineEvery is the least time between two plain lines of one stage.
const lineEvery = 2 * time.Second

func newBars(out io.Writer, quiet bool) *bars {
	b := &bars{out: out, quiet: quiet}
	if f, ok := out.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		b.progress = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40), mpb.WithAutoRefresh())
	}
	return b
}

// writer is where log lines go so that they do not tear the bars.
func (b *bars) writer() io.Writer {
	if b.progress != nil {
		return b.progress
	}
	return b.out
}

// report is an unprune.Progress.
func (b *bars) report(stage string, done, total int) {
	if b == nil || b.quiet {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress == nil {
		b.line(stage, done, total)
		return
	}
	if stage != b.stage {
		b.finish()
		b.stage = stage
		b.bar = b.progress.AddBar(int64(total),
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(stage, decor.WC{W: 36, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.CountersNoUnit("%d of %d"), decor.Name("  "), decor.Elapsed(decor.ET_STYLE_MMSS)),
		)
	}
	b.bar.SetCurrent(int64(done))
	if done >= total {
		b.finish()
	}
}

// line prints the beginning of a stage, its end, and now and then between.
func (b *bars) line(stage string, done, total int) {
	if stage == b.stage && done < total && time.Since(b.lastLine) < lineEvery {
		return
	}
	b.stage, b.lastLine = stage, time.Now()
	fmt.Fprintf(b.out, "%s: %d of %d\n", stage, done, total)
}

// finish takes the current bar away.
func (b *bars) finish() {
	if b.bar != nil {
		b.bar.Abort(true)
	}
	b.bar, b.stage = nil, ""
}

// close ends all bars; lines that follow go to the terminal untouched.
func (b *bars) close() {
	if b == nil || b.progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finish()
	b.progress.Wait()
}
