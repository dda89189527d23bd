internal import Kernels

/// How far the outputs of a layer are from those of a base.
struct LayerError {
  private var difference = 0.0
  private var whole = 0.0

  mutating func add(_ state: FloatMatrix, _ base: FloatMatrix) {
    guard state.columnCount == base.columnCount else { return }
    for row in 0..<state.rowCount {
      for (x, y) in zip(state.row(row), base.row(row)) {
        difference += Double(x - y) * Double(x - y)
        whole += Double(y) * Double(y)
      }
    }
  }

  /// The root of the ratio of mean squares.
  var relative: Double { whole == 0 ? 0 : (difference / whole).squareRoot() }
}
