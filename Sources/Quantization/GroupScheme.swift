package import Kernels
package import TensorModel

/// How the scale and offset of each group are chosen, and from them the codes.
package protocol GroupScheme: Sendable {
  /// The name on the command line.
  static var name: String { get }
  /// One sentence for help and tables.
  static var summary: String { get }
  /// What the scheme can store beside the scale, what it is best known for first.
  static var offsets: [Grouping.Offset] { get }

  /// Why the scheme does not make such groups, which have one of its offsets; nil when it does.
  static func refusal(of grouping: Grouping) -> String?

  /// Encodes rows of floats. Both sides have the same number of rows and columns.
  ///
  /// Throws the fault of the first group that has a value that is not finite, or whose parameters
  /// are too large for their type.
  static func encode(_ values: [Float], into rows: GroupedRows) throws(GroupFault)
}

extension GroupScheme {
  package static func refusal(of grouping: Grouping) -> String? { nil }
}

extension GroupedRows {
  /// The arithmetic of these groups.
  package var kernel: GroupKernel {
    GroupKernel(
      groupSize: columnsPerParameter, bits: grouping.bits,
      parameters: FloatFormat(grouping.parameters))
  }

  /// The decoded numbers: rows × columns floats.
  package func decode(into values: inout [Float]) {
    let (codes, scales, biases, zeros) = (codes, scales, biases, zeros)
    var target = values.mutableSpan
    switch grouping.offset {
    case .bias:
      kernel.decode(codes.span, scales: scales.span, biases: biases.span, into: &target)
    case .zeroPoint:
      kernel.decode(codes.span, scales: scales.span, zeros: zeros.span, into: &target)
    case .none:
      kernel.decode(
        codes.span, scales: scales.span, zero: Float(grouping.centralCode), into: &target)
    }
  }
}
