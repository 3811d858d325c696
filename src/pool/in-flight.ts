/** Work that has begun and that `close` waits for. */
export class InFlight {
  #count = 0;
  #onNone: (() => void)[] = [];

  track<T>(work: Promise<T>): Promise<T> {
    this.begin();
    work.then(this.end, this.end);
    return work;
  }

  /** For work that is no promise. */
  begin(): void {
    this.#count += 1;
  }

  readonly end = (): void => {
    this.#count -= 1;
    if (this.#count > 0 || this.#onNone.length === 0) return;
    for (const tell of this.#onNone.splice(0)) tell();
  };

  /** Resolves when nothing is under way. */
  async none(): Promise<void> {
    while (this.#count > 0) await this.quiet();
  }

  /** Resolves when what is under way, or begins next, is over. */
  quiet(): Promise<void> {
    return new Promise((resolve) => this.#onNone.push(resolve));
  }
}
