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
/// inputs here. A layer that uses the keys and values of another one has the same matrices.
package final class KeyValueCache {
  /// The number of positions that fit.
  package let capacity: Int
  /// The number of positions that are there.
  package fileprivate(set) var count = 0
  let layers: [LayerPass.Cache]

  /// Creates a cache for texts of up to `capacity` tokens.
  package init(_ shape: DecoderShape, capacity: Int) {
    self.capacity = capacity
    var layers: [LayerPass.Cache] = []
    for layer in shape.layers {
      if let source = layer.source {
        layers.append(layers[source])
        continue
      }
      let widths = Self.widths(layer, shape)
      let keys = FloatMatrix(rowCount: capacity, columnCount: widths.keys)
      layers.append(
        widths.values == 0
          ? (keys, keys) : (keys, FloatMatrix(rowCount: capacity, columnCount: widths.values)))
    }
    self.layers = layers
  }

  /// How many numbers a layer keeps of a token as keys, or inputs of a convolution, and as values; 0
  /// for values that are part of keys.
  private static func widths(
    _ layer: DecoderShape.Layer, _ shape: DecoderShape
  ) -> (keys: Int, values: Int) {
    guard layer.source == nil else { return (0, 0) }
    guard layer.convolutionSize == nil else { return (shape.width, 0) }
    let heads = layer.heads
    return (heads.keyWidth, shape.latent == nil ? heads.valueWidth : 0)
  }

  /// The number of bytes that the keys and values of a token take.
  package static func byteCountPerToken(_ shape: DecoderShape) -> Int {
    let count = shape.layers.map { widths($0, shape) }.reduce(0) { $0 + $1.keys + $1.values }
    return MemoryLayout<Float>.stride * count
  }

  func advance(by tokenCount: Int) { count += tokenCount }

  /// Forgets the tokens after the first `count`.
  package func truncate(to count: Int) {
    precondition((0...self.count).contains(count), "expected a position that is there")
    self.count = count
  }
}
