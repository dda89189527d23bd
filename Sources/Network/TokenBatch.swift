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
/// inputs here. A layer that uses the keys and values of another one has the same matrices. A layer
/// with states has those after the last pass, and those before it.
package final class KeyValueCache {
  /// The number of positions that fit.
  package let capacity: Int
  /// The number of positions that are there.
  package fileprivate(set) var count = 0
  let layers: [LayerPass.Cache]
  /// The states of each layer at `count`, and those at `otherCount`; nil for layers without states.
  private var states: [(current: RecurrentState, other: RecurrentState)?]
  /// Where the other states are; nil if they are nowhere.
  private var otherCount: Int?

  /// Creates a cache for texts of up to `capacity` tokens.
  package init(_ shape: DecoderShape, capacity: Int) {
    self.capacity = capacity
    states = shape.layers.map { layer in
      guard layer.hasStates, let sizes = shape.recurrence else { return nil }
      return (RecurrentState(sizes), RecurrentState(sizes))
    }
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
    guard layer.hasAttention else { return (0, 0) }
    let heads = layer.heads
    return (heads.keyWidth, shape.latent == nil ? heads.valueWidth : 0)
  }

  /// The number of bytes that the keys and values of a token take.
  package static func byteCountPerToken(_ shape: DecoderShape) -> Int {
    let count = shape.layers.map { widths($0, shape) }.reduce(0) { $0 + $1.keys + $1.values }
    return MemoryLayout<Float>.stride * count
  }

  /// The number of bytes that states take, however many tokens there are.
  package static func stateByteCount(_ shape: DecoderShape) -> Int {
    let layerCount = shape.layers.count { $0.hasStates }
    return 2 * layerCount * (shape.recurrence.map { RecurrentState.byteCount($0) } ?? 0)
  }

  /// The states of a layer before a pass, and those that the pass fills; nil without states.
  func states(ofLayer number: Int) -> LayerPass.States? {
    otherCount = nil
    return states[number].map { ($0.current, $0.other) }
  }

  func advance(by tokenCount: Int) { exchange(at: count + tokenCount) }

  /// Makes the other states, which are at `count`, the current ones.
  private func exchange(at count: Int) {
    (otherCount, self.count) = (self.count, count)
    states = states.map { pair in pair.map { ($0.other, $0.current) } }
  }

  /// Forgets the tokens after the first `count`; all tokens, if the model has states and these are
  /// not there any more.
  ///
  /// They are there for the tokens before the last pass.
  package func truncate(to count: Int) {
    precondition((0...self.count).contains(count), "expected a position that is there")
    let hasStates = states.contains { $0 != nil }
    if !hasStates || count == self.count {
      self.count = count
    } else if count == otherCount {
      exchange(at: count)
    } else {
      (self.count, otherCount) = (0, nil)
    }
  }
}
