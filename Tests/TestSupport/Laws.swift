package import TensorModel

/// Checks that apply to the readers of all formats.
package enum Laws {
  /// The error that `body` throws; nil if it throws none.
  package static func error<Result>(
    of body: () throws(ModelError) -> Result
  ) -> ModelError? {
    do throws(ModelError) {
      _ = try body()
      return nil
    } catch {
      return error
    }
  }

  /// Whether two lists of tensors are equal; names are compared byte for byte.
  package static func areEqual(_ left: [TensorInfo], _ right: [TensorInfo]) -> Bool {
    left.count == right.count
      && zip(left, right).allSatisfy {
        $0.name.utf8.elementsEqual($1.name.utf8) && $0.shape == $1.shape
          && $0.encoding == $1.encoding
      }
  }

  /// Whether two catalogs have equal tensors, metadata and companions.
  package static func areEqual(_ left: Catalog, _ right: Catalog) -> Bool {
    areEqual(left.tensors, right.tensors) && left.companions == right.companions
      && areEqual(left.metadata, right.metadata)
  }

  /// Whether two lists of metadata are equal; keys are compared byte for byte.
  package static func areEqual(_ left: Metadata, _ right: Metadata) -> Bool {
    left.entries.count == right.entries.count
      && zip(left.entries, right.entries).allSatisfy {
        $0.key.utf8.elementsEqual($1.key.utf8) && isSame($0.value, $1.value)
      }
  }

  // NaNs are equal if they have the same bits.
  private static func isSame(_ left: MetadataValue, _ right: MetadataValue) -> Bool {
    switch (left, right) {
    case (.float(let left), .float(let right)): left.bitPattern == right.bitPattern
    case (.double(let left), .double(let right)): left.bitPattern == right.bitPattern
    default: left == right
    }
  }
}
