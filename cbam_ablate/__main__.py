from cbam_ablate.cli import main

if __name__ == "__main__":
    main()
