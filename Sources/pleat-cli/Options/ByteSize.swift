internal import ArgumentParser

/// A size in bytes: `3000000`, `1.5GB` in powers of 1000, or `5GiB` in powers of 1024.
struct ByteSize: ExpressibleByArgument {
  let byteCount: Int

  init?(argument: String) {
    let number = argument.prefix { "0123456789.".contains($0) }
    let unit = argument.dropFirst(number.count).lowercased()
    let factors = [
      "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1_000_000, "mb": 1_000_000, "g": 1_000_000_000,
      "gb": 1_000_000_000, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
    ]
    guard let count = Double(number), let factor = factors[unit] else { return nil }
    guard let product = Int(exactly: (count * Double(factor)).rounded(.down)), product > 0 else {
      return nil
    }
    byteCount = product
  }
}
