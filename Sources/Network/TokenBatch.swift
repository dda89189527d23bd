internal import Kernels

/// Tokens of one or several texts that a model reads at once.
package struct TokenBatch: Sendable {
  /// The tokens of all texts, one after another.
  package private(set) var tokens: [Int32] = []
  /// The rows of each text, and the position of its first one.
  private(set) var texts: [(rows: Range<Int>, firstPosition: Int)] = []

  package init() {}

  /// Adds a text, or the part of one that follows a cache.
  package mutating func append(_ text: some Collection<Int32>, firstPosition: Int = 0) {
    texts.append((tokens.count..<tokens.count + text.count, firstPosition))
    tokens += text
  }

  /// The row and the position of each token.
  var places: [(row: Int, position: Int)] {
    texts.flatMap { text in
      text.rows.map { ($0, text.firstPosition + $0 - text.rows.lowerBound) }
    }
  }

  /// All positions of the tokens.
  var positions: Range<Int> { (texts.map(\.firstPosition).min() ?? 0)..<length }

  /// The number of positions that the texts have, with those before them.
  var length: Int { texts.map { $0.firstPosition + $0.rows.count }.max() ?? 0 }
}

/// The keys and values of the tokens of one text, for all layers.
///
/// With latent attention the values are a part of the keys. A layer with a short convolution has its
/// inputs here.
package final class KeyValueCache {
  /// The number of positions that fit.
  package let capacity: Int
  /// The number of positions that are there.
  package fileprivate(set) var count = 0
  let layers: [(keys: FloatMatrix, values: FloatMatrix)]

  /// Creates a cache for texts of up to `capacity` tokens.
  package init(_ shape: DecoderShape, capacity: Int) {
    self.capacity = capacity
    let (keyWidth, valueWidth) = Self.widths(shape)
    layers = shape.layers.map { layer in
      let width = layer.convolutionSize == nil ? keyWidth : shape.width
      let keys = FloatMatrix(rowCount: capacity, columnCount: width)
      guard layer.convolutionSize == nil else { return (keys, keys) }
      guard valueWidth > 0 else { return (keys, keys) }
      return (keys, FloatMatrix(rowCount: capacity, columnCount: valueWidth))
    }
  }

  /// How many numbers the keys of a token and its values have; 0 for values that are part of keys.
  private static func widths(_ shape: DecoderShape) -> (keys: Int, values: Int) {
    let count = shape.keyValueHeadCount
    return (count * shape.keySize, shape.latent == nil ? count * shape.valueSize : 0)
  }

  /// The number of bytes that the keys and values of a token take.
  package static func byteCountPerToken(_ shape: DecoderShape) -> Int {
    let (keyWidth, valueWidth) = widths(shape)
    let count = shape.layers.reduce(0) {
      $0 + ($1.convolutionSize == nil ? keyWidth + valueWidth : shape.width)
    }
    return MemoryLayout<Float>.stride * count
  }

  func advance(by tokenCount: Int) { count += tokenCount }

  /// Forgets the tokens after the first `count`.
  package func truncate(to count: Int) {
    precondition((0...self.count).contains(count), "expected a position that is there")
    self.count = count
  }
}
