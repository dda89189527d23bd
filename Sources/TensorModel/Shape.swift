/// The dimensions of a tensor, row-major, outermost first.
public struct Shape: Sendable, Hashable {
  /// The dimensions, outermost first.
  ///
  /// The product of all nonzero dimensions is at most `Int.max / 64`. The sizes of the tensor and
  /// of a row, in bits or bytes, therefore fit an `Int` in every encoding.
  public let dimensions: [Int]

  /// The number of elements; 1 for a scalar.
  public let elementCount: Int

  /// Creates a shape read from a file; nil if a dimension is negative or the product is too large.
  public init?(validating dimensions: [Int]) {
    let limit = Int.max / 64
    var count = 1
    var isEmpty = false
    for extent in dimensions {
      guard extent >= 0 else { return nil }
      if extent == 0 {
        isEmpty = true
        continue
      }
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      guard !overflow, product <= limit else { return nil }
      count = product
    }
    self.dimensions = dimensions
    self.elementCount = isEmpty ? 0 : count
  }

  /// Creates a shape that is known to be valid; traps otherwise.
  public init(_ dimensions: Int...) {
    guard let shape = Shape(validating: dimensions) else {
      preconditionFailure("shape \(dimensions) overflows")
    }
    self = shape
  }

  /// The number of dimensions.
  public var rank: Int { dimensions.count }

  /// The innermost dimension, which is the length of a row; 1 for a scalar.
  public var columnCount: Int { dimensions.last ?? 1 }

  /// The number of rows: the product of all dimensions but the innermost; 0 if rows are empty.
  public var rowCount: Int { columnCount == 0 ? 0 : elementCount / columnCount }
}

extension Shape: CustomStringConvertible {
  /// The dimensions joined by `×`, such as `256×768`; `scalar` without dimensions.
  public var description: String {
    dimensions.isEmpty ? "scalar" : dimensions.map(String.init).joined(separator: "×")
  }
}
