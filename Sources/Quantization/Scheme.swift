package import TensorModel

/// A method to choose scales, offsets and codes, under a name that users give after `--scheme`.
package struct Scheme: Sendable {
  /// The name on the command line.
  package let name: String
  /// One sentence for help and tables.
  package let summary: String
  /// The offsets that the scheme can make; the most typical one comes first.
  package let offsets: [Grouping.Offset]
  /// Why the scheme does not make groups with one of its offsets; nil if it makes them.
  package let refusal: @Sendable (Grouping) -> String?
  private let make: @Sendable (Grouping) -> any Quantizer

  init(
    name: String, summary: String, offsets: [Grouping.Offset],
    refusal: @escaping @Sendable (Grouping) -> String? = { _ in nil },
    make: @escaping @Sendable (Grouping) -> any Quantizer
  ) {
    self.name = name
    self.summary = summary
    self.offsets = offsets
    self.refusal = refusal
    self.make = make
  }

  /// Creates a quantizer for a grouping that the scheme does not refuse.
  package func quantizer(_ grouping: Grouping) -> any Quantizer {
    precondition(offsets.contains(grouping.offset) && refusal(grouping) == nil)
    return make(grouping)
  }
}
