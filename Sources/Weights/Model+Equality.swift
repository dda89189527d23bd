package import TensorModel

extension Model {
  /// Whether two tensors hold the same numbers; reads both until they differ.
  ///
  /// Tensors that Pleat does not decode hold the same numbers if their bytes are equal. Throws what
  /// reading throws.
  package func hasSameNumbers(_ left: Int, _ right: Int) throws(ModelError) -> Bool {
    let tensors = catalog.tensors
    guard tensors[left].shape == tensors[right].shape else { return false }
    let reader = WeightReader(model: self)
    guard let first = reader.tensor(left), let second = reader.tensor(right) else {
      return false
    }
    for rows in WeightReader.runs(of: [first, second]) {
      guard try reader.values(of: first, rows: rows) == reader.values(of: second, rows: rows)
      else { return false }
    }
    return true
  }
}
