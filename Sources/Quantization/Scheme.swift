package import Kernels
package import TensorModel

/// A method to choose scales, offsets and codes, under a name that users give after `--scheme`.
package struct Scheme: Sendable {
  /// The name on the command line.
  package let name: String
  /// One sentence for help and tables.
  package let summary: String
  /// The offsets that the scheme can make; the most typical one comes first.
  package let offsets: [Grouping.Offset]
  /// Whether the importance of columns changes what it makes.
  package let usesImportance: Bool
  /// Whether it searches, with more or less effort.
  package let searches: Bool
  /// Why the scheme does not make groups with one of its offsets; nil if it makes them.
  package let refusal: @Sendable (Grouping) -> String?
  private let blocks: (@Sendable (Effort) -> BlockEncoder.Method)?
  private let make: @Sendable (Grouping, Effort) -> any Quantizer

  /// Creates a scheme that uses the importance of columns; `blocks` is how it makes blocks.
  init(
    name: String, summary: String, offsets: [Grouping.Offset], searches: Bool = false,
    blocks: (@Sendable (Effort) -> BlockEncoder.Method)? = nil,
    refusal: @escaping @Sendable (Grouping) -> String? = { _ in nil },
    make: @escaping @Sendable (Grouping, Effort) -> any Quantizer
  ) {
    self.name = name
    self.summary = summary
    self.offsets = offsets
    usesImportance = true
    self.searches = searches
    self.blocks = blocks
    self.refusal = refusal
    self.make = make
  }

  /// Creates a scheme that only needs the grouping.
  init(
    name: String, summary: String, offsets: [Grouping.Offset],
    make: @escaping @Sendable (Grouping) -> any Quantizer
  ) {
    self.name = name
    self.summary = summary
    self.offsets = offsets
    usesImportance = false
    searches = false
    blocks = nil
    refusal = { _ in nil }
    self.make = { grouping, _ in make(grouping) }
  }

  /// Creates a quantizer for a grouping that the scheme does not refuse.
  ///
  /// - Parameters:
  ///   - grouping: The groups to make.
  ///   - effort: How much time to spend. Schemes that do not search ignore this.
  /// - Returns: The quantizer.
  package func quantizer(
    _ grouping: Grouping, effort: Effort = .default
  ) -> any Quantizer {
    precondition(offsets.contains(grouping.offset) && refusal(grouping) == nil)
    return make(grouping, effort)
  }

  /// Whether it makes the blocks of llama.cpp that store no groups.
  package var makesBlocks: Bool { blocks != nil }

  /// Creates an encoder for rows of blocks; nil if the scheme makes none.
  ///
  /// - Parameters:
  ///   - type: The block type.
  ///   - columnCount: The number of columns, whole blocks.
  ///   - effort: How much time to spend, if the scheme searches.
  /// - Returns: The encoder.
  package func encoder(
    _ type: BlockType, columnCount: Int, effort: Effort = .default
  ) -> (any RowEncoder)? {
    blocks.map { BlockEncoder(type: type, method: $0(effort), columnCount: columnCount) }
  }
}
