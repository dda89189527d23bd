internal import Architectures
internal import Bytes
internal import Kernels

/// The cosines and sines by which a layer rotates queries and keys.
struct RotaryTable: Sendable {
  /// Positions × pairs.
  private let cosines: FloatMatrix
  private let sines: FloatMatrix
  /// The factor of queries at each position; empty if it is 1.
  private let queryFactors: [Float]
  private let neighbours: Bool
  /// The position of the first row.
  private let first: Int

  /// Computes the table of a model for some positions of texts of so many.
  ///
  /// Angles are float32 products of a position and the angle at position 1, as in transformers.
  init(
    _ shape: DecoderShape, _ rotation: DecoderShape.Rotation, positions: Range<Int>, length: Int
  ) {
    let rope = shape.rope
    let angles = rope.angles(
      isSliding: rotation.isSliding, isScaled: rotation.isScaled,
      rotatedCount: rotation.rotatedCount, length: length)
    let factor = rope.rotationFactor(isScaled: rotation.isScaled)
    cosines = FloatMatrix(rowCount: positions.count, columnCount: angles.count)
    sines = FloatMatrix(rowCount: positions.count, columnCount: angles.count)
    neighbours = shape.rotatesNeighbours
    first = positions.lowerBound
    for (row, position) in positions.enumerated() {
      let points = angles.map { Platform.circle(Float(position) * $0) }
      cosines.setRow(row, to: points.map { $0.cosine * factor }[...])
      sines.setRow(row, to: points.map { $0.sine * factor }[...])
    }
    guard let growth = rope.queryGrowth, growth != 0, let original = rope.originalContextLength
    else {
      queryFactors = []
      return
    }
    queryFactors = positions.map {
      Float(1 + growth * Platform.logarithm(1 + Double($0 / original)))
    }
  }

  /// Rotates the heads of a row.
  ///
  /// - Parameters:
  ///   - matrix: Rows of heads.
  ///   - row: The row.
  ///   - position: Its position in the text.
  ///   - headSize: The number of numbers of a head.
  ///   - start: The first number of a head that is rotated.
  func rotate(
    _ matrix: FloatMatrix, row: Int, position: Int, headSize: Int, from start: Int = 0
  ) {
    let place = position - first
    cosines.withRow(place) { cosines in
      sines.withRow(place) { sines in
        for head in stride(from: start, to: matrix.columnCount, by: headSize) {
          matrix.rotate(
            row: row, column: head, cosines: cosines.span, sines: sines.span,
            neighbours: neighbours)
        }
      }
    }
  }

  /// The factor of queries at a position.
  func queryFactor(_ position: Int) -> Float {
    queryFactors.isEmpty ? 1 : queryFactors[position - first]
  }
}
