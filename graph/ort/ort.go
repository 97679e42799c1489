//go:build cgo

package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/unprune/unprune/onnx"
)

// opened is the library that this process has loaded; there can be but one.
var opened struct {
	sync.Mutex
	lib Library
}

// Open loads the library and starts ONNX Runtime, once per process: opening
// the same library again does nothing, opening another one is an error. It
// may be called from several goroutines. Only an absolute path is loaded.
//
// ONNX Runtime's own telemetry is turned off, unless the environment already
// has a word on it: who deletes data does not want to be reported on.
func Open(lib Library) error {
	opened.Lock()
	defer opened.Unlock()
	if opened.lib.Path == lib.Path && lib.Path != "" {
		return nil
	}
	if opened.lib.Path != "" {
		return fmt.Errorf("ort: %s is loaded already and a process can use only one library; restart to use %s",
			opened.lib.Path, lib.Path)
	}
	if !filepath.IsAbs(lib.Path) { // else the loader would search for the name
		return fmt.Errorf("ort: open %q: want the absolute path of the library", lib.Path)
	}
	if _, err := os.Stat(lib.Path); err != nil {
		return fmt.Errorf("ort: open: %w", err)
	}
	if lib.Version != "" && older(lib.Version, MinVersion) {
		return fmt.Errorf("ort: %s is ONNX Runtime %s; want %s or newer", lib.Path, lib.Version, MinVersion)
	}
	if err := start(lib.Path); err != nil {
		return fmt.Errorf("ort: %s is not an ONNX Runtime %s or newer for this system: %w", lib.Path, MinVersion, err)
	}
	lib.Version = ort.GetVersion()
	opened.lib = lib
	return nil
}

// telemetryEnv is read by ONNX Runtime when it starts, outside Windows. Since
// version 1.29 it sends reports, and keeps a file with an identifier, without it.
const telemetryEnv = "ORT_DISABLE_TELEMETRY"

func start(path string) error {
	if _, ok := os.LookupEnv(telemetryEnv); !ok {
		if err := os.Setenv(telemetryEnv, "1"); err != nil {
			return err
		}
	}
	ort.SetSharedLibraryPath(path)
	// What goes wrong comes back as an error; it need not be logged too.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return err
	}
	if os.Getenv(telemetryEnv) == "1" {
		return ort.DisableTelemetry() // on Windows nothing else is heeded
	}
	return nil
}

// Opened returns the library in use, its version as it reports it, and
// whether there is one.
func Opened() (Library, bool) {
	opened.Lock()
	defer opened.Unlock()
	return opened.lib, opened.lib.Path != ""
}

// Session is a model loaded into ONNX Runtime. Its methods may be called from
// several goroutines.
type Session struct {
	sig     signature
	adapter adapter

	mu sync.RWMutex // held for writing while closing
	s  *ort.DynamicAdvancedSession
}

var errNotOpen = errors.New("ort: no library is loaded; call Find and Open first")

// NewSession loads an encoded model. [Open] must have succeeded before.
// Inputs and outputs must be tensors. The model's bytes are not needed
// afterwards; external data has to be embedded.
func NewSession(model []byte, opt Options) (*Session, error) {
	if _, ok := Opened(); !ok {
		return nil, errNotOpen
	}
	sig, err := readSignature(model)
	if err != nil {
		return nil, err
	}
	for _, out := range sig.outputs {
		if out.DType != onnx.Undefined && !passable(out.DType) {
			return nil, fmt.Errorf("ort: output %q: the binding cannot return %v", out.Name, out.DType)
		}
	}
	options, err := opt.encode()
	if err != nil {
		return nil, fmt.Errorf("ort: session options: %w", err)
	}
	defer options.Destroy()

	a := newAdapter(model, sig)
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(a.model, a.inputs, a.outputs, options)
	if err != nil {
		return nil, fmt.Errorf("ort: load model: %w", err)
	}
	a.model = nil
	return &Session{sig: sig, adapter: a, s: s}, nil
}

// LoadFile has ONNX Runtime make a session of a model file, external data
// beside it included, and lets the session go: for measuring what that takes.
// [Open] must have succeeded before.
func LoadFile(path string, opt Options) error {
	if _, ok := Opened(); !ok {
		return errNotOpen
	}
	options, err := opt.encode()
	if err != nil {
		return fmt.Errorf("ort: session options: %w", err)
	}
	defer options.Destroy()
	s, err := ort.NewDynamicAdvancedSession(path, nil, nil, options)
	if err != nil {
		return fmt.Errorf("ort: load %s: %w", path, err)
	}
	return s.Destroy()
}

func (o Options) encode() (*ort.SessionOptions, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	if o.Threads > 0 {
		err = errors.Join(options.SetIntraOpNumThreads(o.Threads), options.SetInterOpNumThreads(1))
	}
	if err = errors.Join(err, options.SetLogSeverityLevel(ort.LoggingLevelFatal)); err != nil {
		options.Destroy()
		return nil, err
	}
	return options, nil
}

// Inputs returns what the model wants to be fed, in the file's order.
// Inputs that an initializer fills are not among them.
func (s *Session) Inputs() []Info { return s.sig.inputs }

// Outputs returns what the model computes, in the file's order.
func (s *Session) Outputs() []Info { return s.sig.outputs }

// Close frees the session. It waits for calls in progress; closing twice does
// nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s == nil {
		return nil
	}
	err := s.s.Destroy()
	s.s = nil
	return err
}

// Run computes every output. When ctx ends, the computation stops at the next
// operator and ctx's error is returned.
func (s *Session) Run(ctx context.Context, feeds map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
	outs := make(map[string]*onnx.Tensor, len(s.sig.outputs))
	err := s.run(ctx, feeds, nil, func(f fetch, t *onnx.Tensor) error {
		outs[f.info.Name] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	return outs, nil
}

// RunInto computes the model and writes the outputs that outs names into the
// tensors given there, whose types and shapes must be right. Such a tensor
// may share memory with a feed, so that a training step's new parameters can
// take the place of the old. After an error the contents of outs are
// undefined.
func (s *Session) RunInto(ctx context.Context, feeds, outs map[string]*onnx.Tensor) error {
	if err := s.checkOuts(outs); err != nil {
		return err
	}
	return s.run(ctx, feeds, outs, func(f fetch, t *onnx.Tensor) error {
		if into := outs[f.info.Name]; into != nil {
			return copyTensor(into, t)
		}
		return nil
	})
}

func (s *Session) checkOuts(outs map[string]*onnx.Tensor) error {
	known := 0
	for _, out := range s.sig.outputs {
		t, ok := outs[out.Name]
		if !ok {
			continue
		}
		known++
		if t == nil {
			return fmt.Errorf("ort: output %q: nil tensor to write to", out.Name)
		}
		err := checkTensor(t)
		if err == nil {
			err = out.accepts(t)
		}
		if err != nil {
			return fmt.Errorf("ort: output %q: %w", out.Name, err)
		}
	}
	if known != len(outs) {
		return fmt.Errorf("ort: a tensor is given for an output that the model does not have; its outputs are %s",
			names(s.sig.outputs))
	}
	return nil
}

// run feeds the model, computes it, and hands each output to keep, except
// those that were written where into says.
func (s *Session) run(ctx context.Context, feeds, into map[string]*onnx.Tensor, keep func(fetch, *onnx.Tensor) error) error {
	if err := checkFeeds(s.sig.inputs, feeds); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.s == nil {
		return errors.New("ort: the session is closed")
	}
	var pin runtime.Pinner
	defer pin.Unpin()

	inputs, err := s.feed(feeds, &pin)
	defer destroy(inputs)
	if err != nil {
		return err
	}
	outputs, err := s.place(feeds, into, &pin)
	placed := make([]bool, len(outputs))
	for i, v := range outputs {
		placed[i] = v != nil
	}
	defer destroy(outputs) // those that Run allocates, too
	if err != nil {
		return err
	}
	if err := s.compute(ctx, inputs, outputs); err != nil {
		return err
	}
	for _, f := range s.adapter.fetches {
		if placed[f.value] {
			continue
		}
		t, err := f.read(outputs)
		if err == nil {
			err = keep(f, t)
		}
		if err != nil {
			return fmt.Errorf("ort: output %q: %w", f.info.Name, err)
		}
	}
	return nil
}

// feed wraps the feeds in the order of the session's inputs.
func (s *Session) feed(feeds map[string]*onnx.Tensor, pin *runtime.Pinner) ([]ort.Value, error) {
	if s.adapter.idle {
		v, err := newValue(onnx.NewTensor(onnx.Float32, 1), pin)
		return []ort.Value{v}, err
	}
	var values []ort.Value
	for _, in := range s.sig.inputs {
		v, err := newValue(feeds[in.Name], pin)
		if err != nil {
			return values, fmt.Errorf("ort: input %q: %w", in.Name, err)
		}
		values = append(values, v)
	}
	return values, nil
}

// place wraps those tensors of into that ONNX Runtime can write to directly.
// The others, nil in the result, it allocates itself.
func (s *Session) place(feeds, into map[string]*onnx.Tensor, pin *runtime.Pinner) ([]ort.Value, error) {
	values := make([]ort.Value, len(s.adapter.outputs))
	for _, f := range s.adapter.fetches {
		t := into[f.info.Name]
		if t == nil || f.shape >= 0 || t.DType == onnx.String || overlapsAny(t, feeds) {
			continue
		}
		v, err := newValue(t, pin)
		if err != nil {
			return values, fmt.Errorf("ort: output %q: %w", f.info.Name, err)
		}
		values[f.value] = v
	}
	return values, nil
}

func (s *Session) compute(ctx context.Context, inputs, outputs []ort.Value) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	options, err := ort.NewRunOptions()
	if err != nil {
		return fmt.Errorf("ort: run options: %w", err)
	}
	defer options.Destroy()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		options.Terminate()
	})
	err = s.s.RunWithOptions(inputs, outputs, options)
	if !stop() { // Terminate must be over before options go away
		<-stopped
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("ort: run stopped: %w", ctx.Err())
	}
	return fmt.Errorf("ort: run: %s", strings.TrimPrefix(err.Error(), "Error running network: "))
}

func destroy(values []ort.Value) {
	for _, v := range values {
		if v != nil {
			v.Destroy()
		}
	}
}
