package kernel

// tiles says how the tiles of a batch of images lie: in lines of the same
// image row. They are numbered line by line.
type tiles struct {
	images  int
	rows    int // lines of an image
	perLine int
}

// newTiles covers images of the given extents with results.
func newTiles(images, rows, cols int) tiles {
	return tiles{images, ceilDiv(rows, tileOut), ceilDiv(cols, tileOut)}
}

func (t *tiles) lines() int { return t.images * t.rows }

// tileShape is the size of tiles in each direction: their elements when they are
// transformed, their pixels, and the pixels from one to the next.
type tileShape struct{ side, extent, step int }

// inTile and outTile are those of [winogradNear]'s transforms.
var (
	inTile  = tileShape{side: tileIn, extent: tileIn, step: tileOut}
	outTile = tileShape{side: tileIn, extent: tileOut, step: tileOut}
)

// area is how many elements a transformed tile has.
func (s tileShape) area() int { return s.side * s.side }

// planes is one side of a transform: images and where their tiles lie.
type planes[T Float] struct {
	tiles
	tileShape
	tiling             *tiling[T]
	channels           int
	pitch              int // channels, rounded up to whole vectors
	image, plane       int // elements from one image, one plane to the next
	height, width      int // of a plane
	originH, originW   int // of the first tile
	gridWidth, gridMax int // pixels of a line with its margins; lines laid out at once
}

// gridElements bounds what is laid out at once of a vector of channels: half of the
// first-level cache.
const gridElements = 4 << 10

func newPlanes[T Float](tl *tiling[T], t tiles, channels, image, height, width int, shape tileShape, originH, originW int) *planes[T] {
	p := &planes[T]{
		tiles: t, tileShape: shape, tiling: tl, channels: channels, pitch: roundUp(channels, tl.winograd.lanes),
		image: image, plane: height * width, height: height, width: width,
		originH: originH, originW: originW,
	}
	margin := p.extent - p.step
	p.gridWidth = t.perLine*p.step + margin
	fit := gridElements/(p.gridWidth*tl.winograd.lanes) - margin
	p.gridMax = min(max(fit/p.step, 1), t.rows)
	return p
}

// load transforms the tiles of some lines into dst, where element e of tile t
// is the vector of channels at e*area + t*pitch. It does so for the channels of a
// line of the cache at a time, which are written while it is near.
func (p *planes[T]) load(w *Worker, transform tileTransform[T], src []T, first, end int, dst []T, area int) {
	const together = 16
	lanes := p.tiling.winograd.lanes
	for c := 0; c < p.channels; c += together {
		for line := first; line < end; {
			image, row := line/p.rows, line%p.rows
			count := min(p.gridMax, p.rows-row, end-line)
			size := p.gridSize(count)
			grids := scratchOf[T](w, slotGrid, together/lanes*size)
			for at := c; at < min(c+together, p.channels); at += lanes {
				p.lay(w, src[image*p.image+at*p.plane:], min(lanes, p.channels-at), row, count, grids[(at-c)/lanes*size:])
			}
			for i := range count {
				for at := c; at < min(c+together, p.channels); at += lanes {
					transform(p.perLine, grids[(at-c)/lanes*size+i*p.step*p.gridWidth*lanes:], p.step*lanes, p.gridWidth*lanes, lanes,
						dst[(line-first+i)*p.perLine*p.pitch+at:], p.pitch, p.side*area, area)
				}
			}
			line += count
		}
	}
}

// gridSize is how many elements lay writes.
func (p *planes[T]) gridSize(count int) int {
	return (count*p.step + p.extent - p.step) * p.gridWidth * p.tiling.winograd.lanes
}

// lay lays out what the tiles of count lines read, as [row][column][channel],
// with zeros outside the plane.
func (p *planes[T]) lay(w *Worker, src []T, channels, row, count int, grid []T) {
	lanes := p.tiling.winograd.lanes
	rows, width := count*p.step+p.extent-p.step, p.gridWidth*lanes
	h0, w0 := p.originH+row*p.step, max(p.originW, 0)
	from := min(max(-h0, 0), rows) // rows of the grid that the plane has
	to := min(max(p.height-h0, from), rows)
	left := max(-p.originW, 0)
	used := min(p.gridWidth-left, p.width-w0)
	if from == to {
		clear(grid[:rows*width])
		return
	}
	clear(grid[:from*width+left*lanes])
	for r := from; r < to-1; r++ { // right of this row and left of the next one
		clear(grid[r*width+(left+used)*lanes:][:width-used*lanes])
	}
	clear(grid[(to-1)*width+(left+used)*lanes : rows*width])
	src, inside := src[(h0+from)*p.width:], grid[from*width+left*lanes:]
	if p.width >= 8 {
		p.tiling.transposeLines(to-from, channels, used, src[w0:], p.plane, p.width, inside, lanes, width)
		return
	}
	pixels := scratchOf[T](w, slotPixels, (to-from)*p.width*lanes) // too narrow for vectors: all rows at once
	p.tiling.transpose(channels, (to-from)*p.width, src, p.plane, pixels, lanes)
	for r := range to - from {
		copy(inside[r*width:][:used*lanes], pixels[(r*p.width+w0)*lanes:])
	}
}

// store transforms what load made, or products of that, back to planes of dst, with
// what is joined to them. The first tiles may begin above and left of the planes.
func (p *planes[T]) store(w *Worker, transform outputTransform[T], src []T, area int, first, end int, dst, bias []T, flags int, j *Joined[T]) {
	lanes := p.tiling.winograd.lanes
	floor := floorOf[T](flags)
	if j.Addend != nil {
		floor = floorOf[T](0) // only once it is added
	}
	for c := 0; c < p.channels; c += lanes {
		for line := first; line < end; {
			image, row := line/p.rows, line%p.rows
			count := min(p.gridMax, p.rows-row, end-line)
			grid := scratchOf[T](w, slotGrid, count*p.step*p.gridWidth*lanes)
			for i := range count {
				transform(p.perLine, src[(line-first+i)*p.perLine*p.pitch+c:], p.pitch, p.side*area, area,
					grid[i*p.step*p.gridWidth*lanes:], p.step*lanes, p.gridWidth*lanes, lanes, bias[c:], floor)
			}
			h0 := p.originH + row*p.step
			h := max(h0, 0)
			grid = grid[((h-h0)*p.gridWidth-p.originW)*lanes:]
			at, channels := image*p.image+c*p.plane+h*p.width, min(lanes, p.channels-c)
			rows := min(h0+count*p.step, p.height) - h
			if j.Addend == nil && j.Mask == nil {
				p.place(grid, dst[at:], p.plane, channels, rows)
			} else {
				size := rows * p.width
				results := scratchOf[T](w, slotPixels, lanes*size)
				p.place(grid, results, size, channels, rows)
				if size == p.plane { // whole planes follow each other
					size, channels = channels*size, 1
				}
				for i := range channels {
					j.finish(dst, results[i*size:][:size], at+i*p.plane, flags)
				}
			}
			line += count
		}
	}
}

// place writes rows of results to planes of dst.
func (p *planes[T]) place(grid, dst []T, plane, channels, rows int) {
	lanes := p.tiling.winograd.lanes
	if p.gridWidth == p.width { // rows follow each other without a gap
		p.tiling.transposeLines(1, rows*p.width, channels, grid, lanes, 0, dst, plane, 0)
		return
	}
	p.tiling.transposeLines(rows, p.width, channels, grid, lanes, p.gridWidth*lanes, dst, plane, p.width)
}
