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

  /// All positions of the tokens.
  var positions: Range<Int> { (texts.map(\.firstPosition).min() ?? 0)..<length }

  /// The number of positions that the texts have, with those before them.
  var length: Int { texts.map { $0.firstPosition + $0.rows.count }.max() ?? 0 }
}

/// The keys and values of the tokens of one text, for all layers.
package final class KeyValueCache {
  /// The number of positions that fit.
  package let capacity: Int
  /// The number of positions that are there.
  package fileprivate(set) var count = 0
  let layers: [(keys: FloatMatrix, values: FloatMatrix)]

  /// Creates a cache for texts of up to `capacity` tokens.
  package init(_ shape: DecoderShape, capacity: Int) {
    self.capacity = capacity
    let width = shape.keyValueHeadCount * shape.headSize
    layers = shape.layers.map { _ in
      (
        FloatMatrix(rowCount: capacity, columnCount: width),
        FloatMatrix(rowCount: capacity, columnCount: width)
      )
    }
  }

  /// The number of bytes that the keys and values of a token take.
  package static func byteCountPerToken(_ shape: DecoderShape) -> Int {
    2 * MemoryLayout<Float>.stride * shape.layers.count * shape.keyValueHeadCount * shape.headSize
  }

  func advance(by tokenCount: Int) { count += tokenCount }

  /// Forgets the tokens after the first `count`.
  package func truncate(to count: Int) {
    precondition((0...self.count).contains(count), "expected a position that is there")
    self.count = count
  }
}
